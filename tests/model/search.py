"""Breadth-first search of a state space: what the models of this directory have in common."""
from collections import deque, namedtuple

Found = namedtuple('Found', 'states problem trace')


def trace_to(parents, state, last=None):
    path = [last] if last else []
    while parents[state] is not None:
        state, label = parents[state]
        path.append(label)
    return path[::-1]


def explore(start, successors, goals=()):
    """Search every state, so that the trace found is a shortest one.

    successors(state) yields (label, state after or text of the broken invariant, is_fault).  goals are
    (text, is_goal, must_reach): every state of which must_reach holds has to have a path without a fault to a
    state of which is_goal holds; text says what it means if not."""
    parents, queue, back = {start: None}, deque([start]), {}
    while queue:
        state = queue.popleft()
        for label, after, fault in successors(state):
            if isinstance(after, str):
                return Found(len(parents), after, trace_to(parents, state, label))
            if goals and not fault:
                back.setdefault(after, []).append(state)
            if after not in parents:
                parents[after] = (state, label)
                queue.append(after)
    for text, is_goal, must_reach in goals:
        reaches = reaching(parents, back, is_goal)
        for state in parents:  # in the order of discovery: the first is a nearest one
            if must_reach(state) and state not in reaches:
                return Found(len(parents), text, trace_to(parents, state))
    return Found(len(parents), None, [])


def reaching(states, back, is_goal):
    reaches = {s for s in states if is_goal(s)}
    todo = list(reaches)
    while todo:
        for before in back.get(todo.pop(), ()):
            if before not in reaches:
                reaches.add(before)
                todo.append(before)
    return reaches
