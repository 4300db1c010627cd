"""Self-fencing in ticks: why a lease may be taken to outlive the confirmed execution that it covers.

One batch, its lease at the store, and the guards of the workers' children; messages are delayed by any
number of ticks, lost, doubled and reordered.  Clocks run equally fast (the difference of RUN_LEASE and GUARD
is there for drift).  A child whose first heartbeat was not answered yet is not confirmed: started by a
DISPATCH that took longer than the accept lease, it may overlap a later attempt, for GUARD at most.
"""
from collections import namedtuple

# In ticks: lease left at the store; each worker's child is (attempt, guard left, confirmed) or None.
# HEARTBEAT and EXTEND carry the age of the heartbeat: the worker looks it up by the number that is echoed.
ACCEPT_LEASE, RUN_LEASE, GUARD = 2, 3, 2
Timed = namedtuple('Timed', 'st at lease children net')


class Guard:
    def __init__(self, cfg, mutant=''):
        self.cfg, self.mutant = cfg, mutant

    def start(self):
        return Timed('ready', 0, 0, (None,) * self.cfg.workers, frozenset())

    def goals(self):
        return [('the batch can never be done', lambda s: s.st == 'done', lambda s: s.at < self.cfg.amax)]

    @staticmethod
    def verdict(n):
        for child in n.children:
            if child and child[2] and (n.st == 'ready' or n.at > child[0]):
                return 'the lease ended while its confirmed execution is alive'
        return n

    def successors(self, s):
        for part in (self.store, self.workers, self.network, self.tick):
            for label, n, fault in part(s):
                if n != s:
                    yield label, self.verdict(self.useful(n)), fault

    def useful(self, s):
        """The state without answers that can change nothing any more: fewer states, the same behaviours."""
        oldest = GUARD - 1 if not self.mutant.startswith('guard_') else GUARD
        return s._replace(net=frozenset(
            m for m in s.net if m[0] in ('DISPATCH', 'HEARTBEAT')
            or s.children[m[2]] and s.children[m[2]][0] == m[1] and m[3] <= oldest))

    def store(self, s):
        if s.st == 'ready' and s.at < self.cfg.amax:
            n = Timed('leased', s.at + 1, ACCEPT_LEASE, s.children, s.net | {('DISPATCH', s.at + 1, 0, 0)})
            yield f'api dispatches a{n.at}', n, False
        if s.st == 'leased':
            if s.lease == 0:
                yield f'lease of a{s.at} ends', s._replace(st='ready'), False
            n = s._replace(lease=RUN_LEASE)
            yield 'api restarts, leases re-armed', n, True
            if self.mutant == 'restart_frees_leases':
                yield 'api restarts, leases forgotten', s._replace(st='ready', lease=0), True

    @staticmethod
    def child_set(s, w, child):
        return s._replace(children=s.children[:w] + (child,) + s.children[w + 1:])

    def workers(self, s):
        for w, child in enumerate(s.children):
            if child:
                a, guard, _ = child
                if guard == 0 and self.mutant != 'no_self_fencing':
                    yield f'w{w} kills a{a}: not renewed', self.child_set(s, w, None), False
                yield f'w{w} heartbeats a{a}', s._replace(net=s.net | {('HEARTBEAT', a, w, 0)}), False
                n = self.child_set(s, w, None)
                yield f'w{w} sends RESULT a{a}', n._replace(st='done', lease=0), False

    def tick(self, s):
        """Time passes for all at once; it waits for no message and no store, but a guard acts in its time."""
        if self.mutant != 'no_self_fencing' and any(c and c[1] == 0 for c in s.children):
            return
        children = tuple(c and (c[0], max(0, c[1] - 1), c[2]) for c in s.children)
        net = frozenset(m if m[0] in ('DISPATCH', 'STOP') else m[:3] + (min(GUARD, m[3] + 1),) for m in s.net)
        yield 'a tick passes', s._replace(lease=max(0, s.lease - 1), children=children, net=net), False

    def network(self, s):
        for msg in sorted(s.net):
            kind, a, w, age = msg
            rest = s._replace(net=s.net - {msg})
            yield f'[{kind} a{a}] is lost', rest, True
            if kind == 'DISPATCH':
                untouched = not any(s.children) and all(m[0] == 'DISPATCH' for m in s.net)
                for v, child in enumerate(s.children[:1] if untouched else s.children):
                    if not child:  # untouched workers are equal
                        yield f'w{v} starts a{a}', self.child_set(rest, v, (a, GUARD, False)), False
                continue
            label = f'[{kind} a{a} w{w}, age {age}] arrives'
            for before, fault in ((rest, False), (s, True)):
                yield label + (', a copy stays' if fault else ''), self.taken(before, msg), fault

    def taken(self, s, msg):
        kind, a, w, age = msg
        if kind == 'HEARTBEAT':
            if s.st == 'leased' and a == s.at:
                return s._replace(lease=RUN_LEASE, net=s.net | {('EXTEND', a, w, age)})
            answer = ('EXTEND', a, w, age) if self.mutant == 'no_stop' else ('STOP', a, w, 0)
            return s._replace(net=s.net | {answer})
        child = s.children[w]
        if not child or child[0] != a:
            return s
        if kind == 'STOP':
            return self.child_set(s, w, None)
        left = RUN_LEASE + 1 if self.mutant == 'guard_outlives_lease' else GUARD
        left -= 0 if self.mutant == 'guard_from_the_reply' else age
        return self.child_set(s, w, (a, max(child[1], left), True)) if left > 0 else s
