#!/usr/bin/env python3
"""Explicit-state check of the lease protocol: it settles the rules that schema/PROTOCOL.md states.

README: `python3 tests/model/lease_model.py [word]` searches every interleaving of small configurations, then
removes one rule at a time (a mutant) and shows the shortest trace in which that breaks; exit 1 if the
rules violate an invariant or a mutant survives.  `word` runs only the lines that contain it.

Two models of one batch live here.  Protocol: store, broker, workers and network, without clocks; a lease
may end at any moment (expiry='any') or, where self-fencing is taken for granted, only when no confirmed child
runs (expiry='fenced').  Guard (guard_model.py): the same lease in ticks, which proves that self-fencing may
be taken for granted.

The network is one of two.  'keeps': a message once sent may be delivered any number of times, at any later
moment, in any order, or never (every loss, delay, duplicate and reordering, with no state to remember them).
'lossy': delivery takes the message away, a fault drops or doubles it; here liveness is checked: from
every reachable state, with no further fault, the batch can reach done, dead or cancelled, and done while it
has a start and an attempt left.

A ticket is (worker, incarnation, number).  Bounds: amax attempts, `grants` tickets an incarnation, `incs`
incarnations a worker, `brokers` incarnations of the broker.  A state at a bound need not be live.
"""
import sys
import time
from collections import namedtuple

sys.dont_write_bytecode = True

from guard_model import Guard  # noqa: E402
from search import explore  # noqa: E402

TERMINAL = ('done', 'dead', 'cancelled')
FREE, EXPIRED, FORGOTTEN = 0, -1, -2  # what a worker knows of a ticket; above 0: the attempt that used it

# ------------------------------------------------------------ protocol model

MESSAGES, INDEX, DECODED = [], {}, {0: ()}


def bit(msg):
    if msg not in INDEX:
        INDEX[msg] = len(MESSAGES)
        MESSAGES.append(msg)
    return 1 << INDEX[msg]


def decode(net):
    """The messages of a network: it is a bit mask of every message ever named, so states hash fast."""
    if net not in DECODED:
        low = net & -net
        DECODED[net] = ((low, MESSAGES[low.bit_length() - 1]),) + decode(net ^ low)
    return DECODED[net]


# ex, given, reported: bit masks of attempts that were executed, given back, reported as failed
# bound: (worker, incarnation) the store knows to hold the lease; newest: newest incarnation it has seen
# confirmed: attempt whose ACCEPTED the store took (a ghost, survives an api restart)
# n: number of the last DISPATCH the api sent; seen: numbers the broker has handled; offers: tickets it knows
State = namedtuple('State', 'st at n starts fails rec ex given reported bound newest confirmed '
                            'broker seen offers workers orphan net')
# queued, run: attempts held; tickets: what is known of each; out: result or failure not yet acknowledged
Worker = namedtuple('Worker', 'inc queued run tickets out')
UNTOUCHED = Worker(1, 0, 0, (), None)
Config = namedtuple('Config',
                    'workers amax max_starts max_attempts grants incs brokers network expiry options')


def config(workers=2, amax=2, starts=2, attempts=2, grants=1, incs=1, brokers=1, network='keeps',
           expiry='any', options=''):
    return Config(workers, amax, starts, attempts, grants, incs, brokers, network, expiry,
                  frozenset(options.split()))


def worker_changed(s, w, **change):
    l = list(s.workers)
    l[w] = l[w]._replace(**change)
    return tuple(l)


def send(s, *msgs):
    net = s.net
    for msg in msgs:
        net |= bit(msg)
    return net


class Protocol:
    """Rules of one configuration; `mutant` names the one rule that is removed."""

    def __init__(self, cfg, mutant=''):
        self.cfg, self.mutant = cfg, mutant
        self.lossy = cfg.network == 'lossy'
        self.acks = 'acks' in cfg.options

    def start(self):
        c = self.cfg
        hellos = sum(bit(('HELLO', w, 1)) for w in range(c.workers)) if c.incs > 1 and not self.lossy else 0
        return State('ready', 0, 0, 0, 0, 0, 0, 0, 0, None, (0,) * c.workers, 0, 1, 0, (),
                     (UNTOUCHED,) * c.workers, 0, hellos)

    def goals(self):
        """Nothing is asked at a bound of the model, where no attempt or no ticket is left to go on with."""
        if not self.lossy:
            return []
        c = self.cfg

        def inside(s):
            return s.at < c.amax and any(len(w.tickets) < c.grants for w in s.workers)

        def has_budget(s):
            return s.st not in TERMINAL and s.starts < c.max_starts and s.fails < c.max_attempts
        return [('the batch can never end', lambda s: s.st in TERMINAL, inside),
                ('the batch can never be done', lambda s: s.st == 'done',
                 lambda s: inside(s) and has_budget(s))]

    # -- invariants

    def verdict(self, s, n):
        """The invariant that the step s -> n breaks, or n."""
        if s.st in TERMINAL and (n.st, n.rec, n.starts, n.fails) != (s.st, s.rec, s.starts, s.fails):
            return 'a terminal state changed' + (' (recorded after cancel)' if n.rec > s.rec else '')
        if n.rec > 1:
            return 'a result was recorded (and finalized) twice'
        if n.ex & n.given:
            return 'a start was given back for an attempt that executed'
        if bin(n.ex).count('1') > self.cfg.max_starts:
            return 'more executions than max_starts'
        if n.starts < 0:
            return 'more starts given back than taken'
        if n.fails > self.cfg.max_attempts:
            return 'more failures counted than max_attempts'
        if n.fails > bin(n.reported).count('1'):
            return 'a failure was counted that no execution reported'
        if self.cfg.expiry == 'fenced' and n.confirmed and (n.st in ('ready', 'dead') or n.at > n.confirmed):
            if n.orphan == n.confirmed or any(w.run == n.confirmed for w in n.workers):
                return 'the lease ended while its confirmed execution is alive'
        return n

    def successors(self, s):
        for part in (self.api, self.worker_steps, self.network):
            for label, n, fault in part(s):
                if isinstance(n, str):
                    yield label, n, fault
                elif n != s:
                    yield label, self.verdict(s, n), fault

    # -- store

    def freed(self, s, **change):
        """The batch after its lease ended: ready again, or dead when a budget is used up."""
        n = s._replace(bound=None, **change)
        no_start = n.starts >= self.cfg.max_starts and self.mutant != 'no_death_by_starts'
        return n._replace(st='dead' if no_start or n.fails >= self.cfg.max_attempts else 'ready')

    def api(self, s):
        m, o = self.mutant, self.cfg.options
        if s.st == 'ready' and s.at < self.cfg.amax and s.starts < self.cfg.max_starts:
            a, n = s.at + 1, s.n + 1
            net = send(s, ('DISPATCH', n, a, s.broker))
            yield (f'api dispatches a{a}', s._replace(st='leased', at=a, n=n, starts=s.starts + 1, net=net,
                                                      confirmed=0), False)
            if m == 'send_before_commit' and n <= self.cfg.amax:
                yield f'api sends a{a}, its commit is lost', s._replace(n=n, net=net), True
        if s.st == 'leased':
            if m != 'leases_never_end' and not (self.cfg.expiry == 'fenced' and self.kept(s)):
                fails = s.fails + (m == 'lost_is_failure')
                yield f'lease of a{s.at} ends', self.freed(s, fails=fails), False
            if 'restart' in o:
                n = s._replace(bound=None, newest=(0,) * len(s.newest))
                if m == 'restart_frees_leases':
                    n = self.freed(n)
                yield 'api restarts', n, True
            if m == 'resend_same_attempt' and s.n <= self.cfg.amax:
                yield (f'api resends a{s.at}', s._replace(n=s.n + 1,
                       net=send(s, ('DISPATCH', s.n + 1, s.at, s.broker))), True)
        if 'cancel' in o and s.st not in TERMINAL:
            yield 'user cancels', s._replace(st='cancelled', bound=None), True

    def kept(self, s):
        """A worker keeps renewing this lease (it drops what it cannot renew before the lease ends)."""
        queued = self.mutant != 'queue_not_guarded'
        held = any(s.at in (w.run, queued and w.queued) for w in s.workers)
        return s.confirmed == s.at and (held or s.orphan == s.at)

    def store_takes(self, s, msg):
        kind, a = msg[0], msg[1]
        current = s.st == 'leased' and a == s.at
        if kind == 'ACCEPTED':
            w, inc = msg[2:]
            if current and inc >= s.newest[w]:
                return s._replace(bound=(w, inc), confirmed=a)
            return s
        if kind == 'HELLO':
            return self.store_hello(s, *msg[1:])
        if kind == 'GONE':
            over = s.bound == msg[1:] or (self.mutant == 'gone_of_any_life' and s.bound and s.bound[0] == msg[1])
            return self.freed(s) if over and s.st == 'leased' else s
        if kind == 'RESULT':
            ok = s.st not in TERMINAL or self.mutant == 'no_state_guard'
            if self.mutant == 'recorded_before_commit' and ok:
                return s._replace(net=send(s, ('RECORDED', a) + msg[2:]))
            answer = 'RECORDED' if ok or (s.st == 'done') else 'DISCARDED'
            n = s._replace(st='done', rec=s.rec + 1, bound=None) if ok else s
            return n._replace(net=send(n, (answer, a) + msg[2:])) if self.acks else n
        if kind == 'FAILURE':
            ok = current or (self.mutant == 'stale_failure_counts' and s.st in ('leased', 'ready'))
            n = self.freed(s, fails=s.fails + 1) if ok else s
            return n._replace(net=send(n, ('DISCARDED', a) + msg[2:])) if self.acks else n
        return self.store_given_back(s, a, current)

    def store_given_back(self, s, a, current):
        """REFUSED, UNDELIVERABLE and HANDED_BACK are one thing to the store."""
        m = self.mutant
        if m == 'give_back_without_lease' and a == s.at and s.st == 'ready':
            current = True
        if m == 'stale_give_back' and s.st not in TERMINAL and not current:
            return s._replace(starts=s.starts - 1)
        if not current:
            return s
        n = s._replace(st='ready', bound=None, starts=s.starts - 1, given=s.given | 1 << a)
        return n._replace(at=s.at - 1) if m == 'attempt_used_again' else n

    def store_hello(self, s, w, inc):
        newest = list(s.newest)
        newest[w] = max(newest[w], inc)
        n = s._replace(newest=tuple(newest))
        if s.bound and s.bound[0] == w:
            over = s.bound[1] < inc
            over |= self.mutant == 'hello_ends_own_leases'
            over |= self.mutant == 'hello_unordered' and s.bound[1] != inc
            if over and s.st == 'leased':
                return self.freed(n)
        return n

    # -- broker

    def broker_takes(self, s, msg):
        m = self.mutant
        if msg[0] == 'TICKETS':
            t = msg[1:]
            return [s._replace(offers=tuple(sorted({x for x in s.offers if x[0] != t[0]} | {t})))]
        _, n, a, broker = msg
        if broker != s.broker and m != 'broker_takes_old_session':
            return []
        if s.seen >> n & 1:
            repeats = [] if m != 'broker_handles_twice' else self.matched(s, n, a)
            if m == 'broker_redispatches':
                repeats = [self.offered(s, n, a, t) for t in s.offers]
            if m == 'undeliverable_after_send':
                repeats = [s._replace(net=send(s, ('UNDELIVERABLE', a)))]
            return repeats
        return self.matched(s, n, a)

    def matched(self, s, n, a):
        if s.offers:
            return [self.offered(s, n, a, t) for t in s.offers]
        seen = s.seen if self.mutant == 'undeliverable_forgotten' else s.seen | 1 << n
        return [s._replace(seen=seen, net=send(s, ('UNDELIVERABLE', a)))]

    def offered(self, s, n, a, ticket):
        return s._replace(seen=s.seen | 1 << n, offers=tuple(t for t in s.offers if t != ticket),
                          net=send(s, ('ROUTED', a) + ticket))

    # -- worker

    def routed(self, s, a, w, inc, k):
        """A worker takes a DISPATCH that the broker matched with ticket k of incarnation inc."""
        m, me = self.mutant, s.workers[w]
        refused = s._replace(net=send(s, ('REFUSED', a)))
        if inc != me.inc:
            return refused if m == 'foreign_ticket_refused' else s
        used = me.tickets[k]
        if used == FREE or (m == 'ticket_used_twice' and used > 0 and not me.queued):
            tickets = me.tickets[:k] + (a,) + me.tickets[k + 1:]
            return s._replace(workers=worker_changed(s, w, queued=a, tickets=tickets),
                              net=send(s, ('ACCEPTED', a, w, inc)))
        if used == FORGOTTEN:
            return refused if m == 'forgotten_ticket_refused' else s
        if used == a:
            return refused if m == 'duplicate_refused' else s
        return refused

    def worker_steps(self, s):
        for w, me in enumerate(s.workers):
            yield from self.ticket_steps(s, w, me)
            yield from self.held_steps(s, w, me)
            if me.run:
                yield from self.running_steps(s, w, me)
            if self.acks and me.out:
                yield (f'w{w} sends {me.out[0]} a{me.out[1]} again',
                       s._replace(net=send(s, me.out + (w, me.inc))), False)
            if me.inc < self.cfg.incs and me.tickets:
                keeps = me.run if self.mutant in ('children_outlive_parent', 'gone_before_the_end') else 0
                workers = worker_changed(s, w, inc=me.inc + 1, queued=0, run=0, tickets=(), out=None)
                n = s._replace(workers=workers, orphan=keeps)
                if self.mutant != 'gone_before_the_end':  # (HELLO would show the same fault)
                    n = n._replace(net=send(n, ('HELLO', w, me.inc + 1)))
                if 'gone' in self.cfg.options:
                    n = n._replace(net=send(n, ('GONE', w, me.inc)))
                yield f'w{w} crashes and starts again', n, True
        if s.broker < self.cfg.brokers:
            yield 'broker restarts', s._replace(broker=s.broker + 1, seen=0, offers=()), True

    def ticket_steps(self, s, w, me):
        told_once = self.mutant == 'tickets_told_once'
        if FREE in me.tickets:
            k = me.tickets.index(FREE)
            if not told_once:
                yield f'w{w} renews ticket {k}', s._replace(net=send(s, ('TICKETS', w, me.inc, k))), False
                yield f'w{w} lets ticket {k} expire', self.with_ticket(s, w, k, EXPIRED), False
        elif len(me.tickets) < self.cfg.grants and not me.queued and (w == 0 or s.workers[0] != UNTOUCHED):
            # workers are equal: the first to grant is called w0
            n = s._replace(workers=worker_changed(s, w, tickets=me.tickets + (FREE,)),
                           net=send(s, ('TICKETS', w, me.inc, len(me.tickets))))
            yield f'w{w} grants ticket {len(me.tickets)}', n, False
        for k, used in enumerate(me.tickets):
            if used == EXPIRED and self.mutant == 'expired_ticket_revived':
                yield f'w{w} revives ticket {k}', self.with_ticket(s, w, k, FREE), True
            if used > 0 and 'forget' in self.cfg.options and used not in (me.queued, me.run):
                yield f'w{w} forgets ticket {k}', self.with_ticket(s, w, k, FORGOTTEN), True

    @staticmethod
    def with_ticket(s, w, k, used):
        tickets = s.workers[w].tickets
        return s._replace(workers=worker_changed(s, w, tickets=tickets[:k] + (used,) + tickets[k + 1:]))

    def held_steps(self, s, w, me):
        a = me.queued
        if a and not me.run:
            yield self.started(s, w, a, f'w{w} starts a{a}')
        if a and self.cfg.expiry == 'fenced':
            n = s._replace(workers=worker_changed(s, w, queued=0))
            yield f'w{w} drops a{a}: it cannot renew', n, True
        if a and 'handback' in self.cfg.options:
            kept = a if self.mutant == 'handed_back_and_kept' else 0
            yield (f'w{w} hands back a{a}', s._replace(workers=worker_changed(s, w, queued=kept),
                                                      net=send(s, ('HANDED_BACK', a))), False)

    @staticmethod
    def started(s, w, a, label):
        if s.ex >> a & 1:
            return label, 'one attempt was executed twice', False
        return label, s._replace(workers=worker_changed(s, w, queued=0, run=a), ex=s.ex | 1 << a), False

    def running_steps(self, s, w, me):
        a, o = me.run, self.cfg.options
        for kind in ('RESULT', 'FAILURE')[:2 if 'failures' in o else 1]:
            out = (kind, a)
            reported = s.reported | (1 << a if kind == 'FAILURE' else 0)
            workers = worker_changed(s, w, run=0, out=out if self.acks else None)
            n = s._replace(workers=workers, reported=reported)
            yield f'w{w} sends {kind} a{a}', n._replace(net=send(n, out + (w, me.inc))), False
        if self.cfg.expiry == 'fenced':
            yield f'w{w} kills a{a}: it cannot renew', s._replace(workers=worker_changed(s, w, run=0)), True
        if self.mutant == 'parent_retries_child':
            yield self.started(s, w, a, f'w{w} starts a{a} again in a new child')
        if self.mutant == 'running_handed_back':
            yield (f'w{w} kills a{a} and hands it back', s._replace(workers=worker_changed(s, w, run=0),
                                                                  net=send(s, ('HANDED_BACK', a))), False)

    def acknowledged(self, s, msg):
        kind, a, w, inc = msg
        if kind == 'RECORDED' and not s.rec:
            return 'RECORDED was answered for a result that is not stored'
        out = s.workers[w].out
        if out and out[1] == a and s.workers[w].inc == inc:
            return s._replace(workers=worker_changed(s, w, out=None))
        return s

    # -- network

    def delivered(self, s, msg):
        kind = msg[0]
        if kind in ('DISPATCH', 'TICKETS'):
            return self.broker_takes(s, msg) or [s]
        if kind == 'ROUTED':
            return [self.routed(s, *msg[1:])]
        if kind in ('RECORDED', 'DISCARDED'):
            return [self.acknowledged(s, msg)]
        return [self.store_takes(s, msg)]

    def network(self, s):
        for mask, msg in decode(s.net):
            label = ' '.join(map(str, msg))
            if not self.lossy:
                for n in self.delivered(s, msg):
                    yield f'[{label}] arrives', n, False
                continue
            rest = s._replace(net=s.net & ~mask)
            yield f'[{label}] is lost', rest, True
            for n in self.delivered(rest, msg):
                yield f'[{label}] arrives', n, False
            if 'doubles' in self.cfg.options:
                for n in self.delivered(s, msg):
                    yield f'[{label}] arrives, a copy stays', n, True


# ------------------------------------------------------------ what is run, and how

CONFIGS = {
    'tickets': (Protocol, config()),
    'refusals': (Protocol, config(workers=1, amax=3, grants=2)),
    'hand-back': (Protocol, config(workers=1, amax=3, grants=2, options='handback')),
    'hand-back and cancel': (Protocol, config(options='handback cancel')),
    'broker restart': (Protocol, config(brokers=2)),
    'forgotten tickets': (Protocol, config(workers=1, amax=3, grants=2, options='forget')),
    'incarnations': (Protocol, config(workers=1, incs=2, options='handback')),
    'fenced incarnations': (Protocol, config(workers=1, incs=2, expiry='fenced', options='restart')),
    'last words': (Protocol, config(workers=1, incs=2, expiry='fenced', options='restart gone')),
    'failures': (Protocol, config(workers=1, amax=3, starts=3, grants=2, options='failures')),
    'cancel and failures': (Protocol, config(options='failures cancel restart')),
    'liveness': (Protocol, config(workers=1, starts=1, grants=2, brokers=2, network='lossy',
                                  options='handback')),
    'liveness, crash': (Protocol, config(workers=1, incs=2, network='lossy')),
    'liveness, failures': (Protocol, config(workers=1, attempts=1, network='lossy', options='acks failures')),
    'liveness, doubles': (Protocol, config(workers=1, starts=1, network='lossy', options='acks doubles')),
    'liveness, two starts': (Protocol, config(workers=1, grants=2, network='lossy', options='acks')),
    'guard': (Guard, config()),
}

# mutant: (configuration, a part of the invariant that must break, the rule that was removed)
MUTANTS = {
    'no_state_guard': ('cancel and failures', 'terminal state changed', 'only a batch not terminal takes a result'),
    'resend_same_attempt': ('tickets', 'executed', 'the api sends an attempt once'),
    'broker_redispatches': ('tickets', 'executed', 'a broker never re-dispatches'),
    'parent_retries_child': ('tickets', 'executed twice', 'a parent never re-runs an attempt'),
    'stale_failure_counts': ('failures', 'failure', 'only the current lease takes a failure'),
    'duplicate_refused': ('tickets', 'given back', 'a duplicate of a used ticket is met with silence'),
    'ticket_used_twice': ('tickets', 'executed twice', 'a ticket is used once'),
    'expired_ticket_revived': ('tickets', 'given back', 'an expired ticket never comes back'),
    'forgotten_ticket_refused': ('forgotten tickets', 'given back', 'a forgotten ticket is met with silence'),
    'foreign_ticket_refused': ('incarnations', 'given back', "another incarnation's ticket is met with silence"),
    'broker_handles_twice': ('tickets', 'executed', 'a broker handles a dispatch number once'),
    'undeliverable_forgotten': ('tickets', 'given back', 'a number answered UNDELIVERABLE is handled'),
    'broker_takes_old_session': ('broker restart', 'executed', 'a dispatch names the incarnation of its broker'),
    'undeliverable_after_send': ('tickets', 'given back', 'what was sent is never UNDELIVERABLE'),
    'stale_give_back': ('refusals', 'start', 'only the current attempt gives its start back'),
    'give_back_without_lease': ('refusals', 'given back', 'only a standing lease gives its start back'),
    'attempt_used_again': ('refusals', 'given back', 'an attempt stays raised after a give-back'),
    'running_handed_back': ('hand-back', 'given back', 'only what never started is handed back'),
    'handed_back_and_kept': ('hand-back', 'given back', 'what is handed back is dropped first'),
    'send_before_commit': ('tickets', 'executed', 'commit, then send'),
    'recorded_before_commit': ('liveness, two starts', 'not stored', 'commit, then answer RECORDED'),
    'lost_is_failure': ('failures', 'no execution reported', 'a lost execution is no failure'),
    'no_death_by_starts': ('liveness', 'never end', 'a batch without a start left is dead'),
    'leases_never_end': ('liveness', 'never end', 'a lease ends'),
    'tickets_told_once': ('liveness, two starts', 'can never', 'every heartbeat repeats the free tickets'),
    'hello_ends_own_leases': ('fenced incarnations', 'alive', 'HELLO ends only older incarnations'),
    'hello_unordered': ('fenced incarnations', 'alive', 'incarnations are ordered'),
    'queue_not_guarded': ('fenced incarnations', 'alive', 'a queued batch is under the guard too'),
    'children_outlive_parent': ('fenced incarnations', 'alive', 'children die with the parent'),
    'gone_before_the_end': ('last words', 'alive', 'GONE is said when nothing of the worker runs any more'),
    'gone_of_any_life': ('last words', 'alive', 'GONE names one incarnation'),
    'restart_frees_leases': ('fenced incarnations', 'alive', 'a restarted api re-arms leases'),
    'restart_frees_leases (ticks)': ('guard', 'alive', 'a restarted api re-arms leases in full'),
    'no_self_fencing': ('guard', 'alive', 'a worker that cannot renew kills its child'),
    'guard_from_the_reply': ('guard', 'alive', 'the guard counts from the sending of the heartbeat'),
    'guard_outlives_lease': ('guard', 'alive', 'the guard is shorter than the lease'),
    'no_stop': ('guard', 'alive', 'a heartbeat of no current lease is answered STOP'),
}


def run(name, mutant=''):
    model, cfg = CONFIGS[name]
    model = model(cfg, mutant)
    return explore(model.start(), model.successors, model.goals())


def main(word):
    passed = failed = 0
    for name in CONFIGS:
        if word not in name:
            continue
        began = time.perf_counter()
        found = run(name)
        passed, failed = passed + (not found.problem), failed + bool(found.problem)
        print(f'{"FAIL" if found.problem else "ok"}    rules, {name}: {found.states} states, '
              f'{time.perf_counter() - began:.1f} s, {found.problem or "all invariants hold"}', flush=True)
        if found.problem:
            print('      ' + ' -> '.join(found.trace))
    for mutant, (name, expected, rule) in MUTANTS.items():
        if word not in mutant and word not in rule:
            continue
        found = run(name, mutant.split()[0])
        good = bool(found.problem) and expected in found.problem
        passed, failed = passed + good, failed + (not good)
        print(f'{"ok" if good else "FAIL"}    without "{rule}" ({mutant}, {name}): '
              f'{found.problem or "SURVIVES"} after {found.states} states', flush=True)
        print('      ' + ' -> '.join(found.trace), flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ''))
