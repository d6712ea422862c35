"""The form of a scenario in the data files, which docs/journal.md explains. A key that isn't here is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

__all__ = [
    "DATA",
    "FAILURE_CODES",
    "VERBS",
    "Action",
    "Asked",
    "Call",
    "End",
    "RetryOf",
    "Scenario",
    "StepOf",
    "on_postgres",
    "read",
    "read_all",
]

DATA: Final = Path(__file__).parent / "data"


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table in which every key is known."""


# -- what handlers do --------------------------------------------------------------------------------------------------


class Call(_Strict, frozen=True, kw_only=True):
    """What one call of a step's handler does: it stops at a gate, sleeps, and then returns or raises."""

    gate: str | None = None
    sleep: float = 0.0
    shield: float = 0.0
    """seconds for which it goes on whatever happens"""
    swallow: bool = False
    """whether it goes on to its return although it is cancelled"""
    returns: Any = UNSET
    value: str | None = None
    """the name of a Python value that no data file can hold"""
    echo: str | None = None
    """what it returns of its context, as `output:work`"""
    raises: str | None = None
    sql: list[str] = []
    """what a transactional activity does with its connection; where it swallows, it goes on after an error"""


class RetryOf(_Strict, frozen=True, kw_only=True):
    max_attempts: int = 3
    backoff: float = 1.0
    multiplier: float = 2.0
    max_backoff: float = 300.0
    give_up_on: list[str] = []


class StepOf(_Strict, frozen=True, kw_only=True):
    """What a scenario says of a step of its workflow. Calls beyond the last one do what the step does by itself."""

    retry: int | RetryOf = 1
    timeout: float | Literal["none"] | UnsetType = UNSET
    max_visits: int = 1
    is_async: bool = False
    """whether a decision, a terminal or a resolver is `async def`"""
    calls: list[Call] = []


# -- what happens ------------------------------------------------------------------------------------------------------


class _Action(_Strict, frozen=True, kw_only=True, tag_field="do"):
    """Something that is done to the execution or its workers; `raises` is the error that it ends with."""

    via: str = "client"
    """the process in which it is asked for"""
    raises: str | None = None


class Start(_Action, frozen=True, kw_only=True, tag="start"):
    id: str = "x"
    workflow: str | None = None
    version: str | None = None
    input: Any = UNSET
    value: str | None = None
    delay: float | None = None
    at: float | None = None
    tags: list[str] = []
    metadata: dict[str, str | int | bool] = {}


class SendSignal(_Action, frozen=True, kw_only=True, tag="signal"):
    step: str
    id: str = "x"
    payload: Any = None
    value: str | None = None
    signal_id: str | None = None


class Cancel(_Action, frozen=True, kw_only=True, tag="cancel"):
    id: str = "x"
    reason: str = ""
    returns: str = "cancelled"


class Pause(_Action, frozen=True, kw_only=True, tag="pause"):
    id: str = "x"
    reason: str = ""


class Resume(_Action, frozen=True, kw_only=True, tag="resume"):
    id: str = "x"
    attempts: int = 1


class Purge(_Action, frozen=True, kw_only=True, tag="purge"):
    older_than: float
    gone: list[str] = []
    kept: list[str] = []


class Result(_Action, frozen=True, kw_only=True, tag="result"):
    id: str = "x"
    output: Any = None
    timeout: float | None = None


class Get(_Action, frozen=True, kw_only=True, tag="get"):
    """Looks how an execution stands; each of `shows` must be so."""

    id: str = "x"
    shows: dict[str, Any] = {}


class Find(_Action, frozen=True, kw_only=True, tag="find"):
    query: dict[str, Any]
    found: list[str]


class ReadJournal(_Action, frozen=True, kw_only=True, tag="journal"):
    id: str = "x"
    after: int = 0
    limit: int = 1000
    kinds: list[str]


class RunDue(_Action, frozen=True, kw_only=True, tag="run_due"):
    claimed: int
    limit: int | None = None


class RunUntilIdle(_Action, frozen=True, kw_only=True, tag="run_until_idle"):
    claimed: int


class BeginWorker(_Action, frozen=True, kw_only=True, tag="worker"):
    """A process of its own, with an engine and a worker."""

    name: str = "w"
    concurrency: int = 100
    poll: float = 1.0
    grace: float = 30.0
    versions: tuple[str, ...] | None = None


class Stop(_Action, frozen=True, kw_only=True, tag="stop"):
    """The worker's block is left, so that it drains; without `wait`, others act meanwhile."""

    name: str = "w"
    wait: bool = True


class Interrupt(_Action, frozen=True, kw_only=True, tag="interrupt"):
    """The worker's process is cancelled, as by a signal."""

    name: str = "w"


class Kill(_Action, frozen=True, kw_only=True, tag="kill"):
    """Nothing of what the process still does reaches the storage: its calls hang, or fail, as `how` says."""

    name: str = "w"
    how: str = "hangs before"


class Heal(_Action, frozen=True, kw_only=True, tag="heal"):
    """The process reaches the storage again, and what it sent meanwhile arrives."""

    name: str = "w"


class Spoil(_Action, frozen=True, kw_only=True, tag="spoil"):
    """Calls of a process to the storage go wrong: `how` is one of tests.engine.faulty.How."""

    method: str
    name: str = "w"
    how: str = "fails before"
    at: int = 1
    times: int = 1
    seconds: float | None = None


class Reach(_Action, frozen=True, kw_only=True, tag="reach"):
    gate: str
    count: int = 1


class Open(_Action, frozen=True, kw_only=True, tag="open"):
    gate: str


class Advance(_Action, frozen=True, kw_only=True, tag="advance"):
    """Time passes: `by` so many seconds, or until so many after the beginning."""

    by: float = 0.0
    to: float | None = None


class Settle(_Action, frozen=True, kw_only=True, tag="settle"):
    """Everybody does what there is to do now."""


Asked = Start | SendSignal | Cancel | Pause | Resume | Purge | Result | Get | Find | ReadJournal | RunDue | RunUntilIdle
"""What a process's engine is asked for."""

Action = Asked | BeginWorker | Stop | Interrupt | Kill | Heal | Spoil | Reach | Open | Advance | Settle

VERBS: Final = frozenset(
    {
        *("start", "signal", "cancel", "pause", "resume", "purge", "result", "get", "find", "journal"),
        *("run_due", "run_until_idle", "worker"),
    }
)
"""The actions that are methods of an engine."""


FAILURE_CODES: Final = frozenset(
    {"error", "timeout", "unknown_route", "payload", "crashed", "visits_exceeded", "cancellation", "transaction"}
)
"""All codes that a failure may have."""


# -- what is expected --------------------------------------------------------------------------------------------------


class End(_Strict, frozen=True, kw_only=True):
    """How one execution stands in the end."""

    status: str
    journal: str
    step: str | None = None
    """where it stands or, of a failed one, which step ended it"""
    output: Any = None
    error: Any = None
    """what a `fail` step gave"""
    code: str | None = None
    """of the failure that ended it"""
    signals: dict[str, str] = {}
    """every signal that was accepted, and what became of it"""


class Scenario(_Strict, frozen=True, kw_only=True):
    name: str
    workflow: str
    because: str = ""
    """the promise that it shows, where the name doesn't say"""
    versions: tuple[str, ...] = ("1",)
    input: Any = 1
    engine: dict[str, Any] = {}
    steps: dict[str, StepOf] = {}
    actions: tuple[Action, ...] = (Start(), BeginWorker(), Settle())
    """without any: it is started, a worker comes, and does all there is to do now"""
    ends: dict[str, End]


class _File(_Strict, frozen=True, kw_only=True):
    scenario: list[Scenario]


def on_postgres(path: Path) -> bool:
    """Tell whether a file is about what only Postgres can do, and asyncio, and only in real time."""
    return path.stem == "transactions"


def read(path: Path) -> list[Scenario]:
    """Return the scenarios of one file. Raises msgspec.ValidationError with the path of what is wrong."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).scenario


def read_all() -> Iterator[tuple[str, Scenario]]:
    """Yield every scenario with its file's name."""
    for path in sorted(DATA.glob("*.toml")):
        for scenario in read(path):
            yield path.stem, scenario
