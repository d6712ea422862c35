"""The state machine: (workflow, state, event) -> Move. Pure.

Rule 1: every rule about what may follow what lives in this package, under the one table `stepwell._model.LEGAL`.
Rule 2: nothing here reads a clock, a random number, a storage or a handler; all of these arrive as arguments.
Rule 3: an event is what happened; the Move is all that it implies, to be committed whole or not at all.
Rule 4: deciding twice on the same state and event gives the same Move, so a refused worker decides again from the
        value it has and runs no user code for it.

`plan` says what a worker that holds the lease does next, `transition` what an event implies, `ride` what it implies
when it happened at a step that rides along in the commit before it, `begin` how an execution comes to be, and `accept`
what becomes of a signal.
"""

from stepwell._transition._begin import Claimant, begin, child_id
from stepwell._transition._draft import Move, State, Terms
from stepwell._transition._events import (
    Asked,
    Cancelled,
    ChildEnded,
    Chose,
    Drained,
    Ended,
    Event,
    Halted,
    HandedBack,
    Lost,
    Opened,
    Paused,
    Raised,
    Resumed,
    Returned,
    Signalled,
    StillSuspended,
    TimerFired,
)
from stepwell._transition._machine import ride, transition
from stepwell._transition._plan import Action, Call, Decide, Look, Resolve, plan
from stepwell._transition._progress import failure_error, value_error
from stepwell._transition._signals import Accepted, accept

__all__ = [
    "Accepted",
    "Action",
    "Asked",
    "Call",
    "Cancelled",
    "ChildEnded",
    "Chose",
    "Claimant",
    "Decide",
    "Drained",
    "Ended",
    "Event",
    "Halted",
    "HandedBack",
    "Look",
    "Lost",
    "Move",
    "Opened",
    "Paused",
    "Raised",
    "Resolve",
    "Resumed",
    "Returned",
    "Signalled",
    "State",
    "StillSuspended",
    "Terms",
    "TimerFired",
    "accept",
    "begin",
    "child_id",
    "failure_error",
    "plan",
    "ride",
    "transition",
    "value_error",
]
