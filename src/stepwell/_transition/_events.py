"""What can happen to an execution. Past participles; a closed union, matched with `assert_never`."""

from __future__ import annotations

from msgspec import Struct

from stepwell._model import Status

__all__ = [
    "Asked",
    "Cancelled",
    "ChildEnded",
    "Chose",
    "Drained",
    "Ended",
    "Event",
    "Halted",
    "HandedBack",
    "Lost",
    "Opened",
    "Paused",
    "Raised",
    "Resumed",
    "Returned",
    "Signalled",
    "StillSuspended",
    "TimerFired",
]


class Returned(Struct, frozen=True, gc=False):
    """An activity returned; `output` is JSON text."""

    output: str


class Chose(Struct, frozen=True, gc=False):
    """A decision chose a route that exists."""

    route: str


class Ended(Struct, frozen=True, gc=False):
    """A terminal step gave the execution's output or, at a fail step, its error; JSON text."""

    value: str


class Asked(Struct, frozen=True, gc=False):
    """A subworkflow step made its child's input; canonical JSON text."""

    input: str


class Signalled(Struct, frozen=True, gc=False):
    """A wait's resolver chose a route for a signal."""

    id: str
    payload: str
    route: str


class TimerFired(Struct, frozen=True, gc=False):
    """A wait's timeout has passed and no signal lies there."""


class ChildEnded(Struct, frozen=True, gc=False):
    """The child of a subworkflow step was found terminal; `outcome` is JSON text."""

    status: Status
    outcome: str


class Raised(Struct, frozen=True, gc=False):
    """The attempt failed: user code raised, took too long, or gave something that can't be used."""

    failure: str
    """a `Failure` as JSON text"""
    route: str | None = None
    """label of the catch that matches the error"""
    is_final: bool = False
    """whether the step's retry policy gives up on such an error"""


class Lost(Struct, frozen=True, gc=False):
    """The claim found an attempt that nobody ended: its worker disappeared."""


class Drained(Struct, frozen=True, gc=False):
    """A drain ended the attempt after it had begun."""

    reason: str = "drain"


class HandedBack(Struct, frozen=True, gc=False):
    """The worker gives the claim back before the attempt began."""

    reason: str
    delay: float = 0.0
    """seconds before anyone looks again"""


class StillSuspended(Struct, frozen=True, gc=False):
    """The worker looked at a wait or a subworkflow and found that it is not over."""


class Opened(Struct, frozen=True, gc=False):
    """The worker came to a wait that was not opened yet, for lack of a commit that arrived at it."""


class Halted(Struct, frozen=True, gc=False):
    """The worker found that the execution is to be paused before the next attempt begins."""


class Paused(Struct, frozen=True, gc=False):
    """A client asked for a pause."""

    reason: str = ""


class Resumed(Struct, frozen=True, gc=False):
    """A client asked to go on, with so many more attempts where a step had failed."""

    attempts: int = 1


class Cancelled(Struct, frozen=True, gc=False):
    """A client cancelled the execution, or its parent was cancelled."""

    reason: str = ""
    by_parent: bool = False


Event = (
    Returned
    | Chose
    | Ended
    | Asked
    | Signalled
    | TimerFired
    | ChildEnded
    | Raised
    | Lost
    | Drained
    | HandedBack
    | StillSuspended
    | Opened
    | Halted
    | Paused
    | Resumed
    | Cancelled
)
