"""What a handler is given: the input, what earlier steps gave, and who is asking. Read-only, and quick to make.

The engine hands in lazy mappings, so that nothing is decoded which no handler looks at. In a unit test a context is
made by hand and the step called with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, cast, overload

import msgspec

from stepwell._errors import StepNotRun
from stepwell._typevars import DefaultT, InputT_co, OutT, OutT_co

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence

    from stepwell._failure import Failure

    _Log = logging.LoggerAdapter[Any] | logging.Logger

__all__ = ["Attempt", "Context", "Named", "Outcome", "Past", "Produces", "StepContext"]

_MISSING: Final = object()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Named(Protocol):
    """Anything with a step's name: every step handle."""

    @property
    def name(self) -> str:
        """The step's name."""
        ...


class Produces(Named, Protocol[OutT_co]):
    """A step whose output later steps can ask for."""

    @property
    def produces(self) -> OutT_co:
        """For type checkers only: what `Context.output` returns for this step."""
        ...


class Attempt(Protocol):
    """Which attempt of which step asks: an execution's row."""

    @property
    def id(self) -> str: ...
    @property
    def workflow(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def step(self) -> str | None: ...
    @property
    def attempt(self) -> int: ...
    @property
    def visit(self) -> int: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...
    @property
    def tags(self) -> Sequence[str]: ...


class Past(Protocol):
    """What an execution has come to so far. Asked only for what a handler looks at."""

    def outputs(self) -> Mapping[str, Any]:
        """Return what the steps gave, by name."""
        ...

    def failures(self) -> Mapping[str, Any]:
        """Return how steps failed for good, by name."""
        ...

    def data(self) -> Mapping[str, Any]:
        """Return the outputs that are objects, merged."""
        ...


@dataclass(frozen=True)  # no slots: a frozen class with slots can't be made by way of its subscript
class Outcome(Generic[OutT_co]):
    """How a child ended: the output of a subworkflow step."""

    status: Literal["succeeded", "failed", "cancelled"]
    output: OutT_co | None = None
    error: Any = None
    id: str = ""


class Context(Generic[InputT_co]):
    """Everything a handler may know about its execution, read-only.

    To call a step in a unit test, make one by hand: `await pay(Context(request, outputs={load_order: order}))`.
    """

    __slots__ = ("_at", "_connection", "_data", "_failures", "_idempotency_key", "_input", "_log", "_outputs", "_past")

    _input: InputT_co
    _idempotency_key: str | None

    def __init__(
        self,
        input: InputT_co,
        *,
        outputs: Mapping[Any, Any] = _NOTHING,
        data: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        failures: Mapping[Any, Any] = _NOTHING,
        execution_id: str = "test",
        workflow: str = "test",
        version: str = "0",
        step: str = "test",
        attempt: int = 1,
        visit: int = 1,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        log: _Log | Callable[[], _Log] | None = None,
        connection: Any = None,
    ) -> None:
        """Keep what is given; *outputs* and *failures* are keyed by step handle or by step name.

        *data* is the merged view, or a callable that makes it when it is first asked for; without it, it is merged
        from *outputs*. *log* may be a callable, too; without it, what is logged goes nowhere.
        """
        at = _GivenAttempt(execution_id, workflow, version, step, attempt, visit, metadata, tags)
        self._fill(input, at, _GivenPast(_by_name(outputs), _by_name(failures), data), log, connection)
        self._idempotency_key = idempotency_key

    def _fill(
        self, input: Any, at: Attempt, past: Past, log: _Log | Callable[[], _Log] | None, connection: Any
    ) -> None:
        self._input = input
        self._at = at
        self._past = past
        self._outputs: Mapping[str, Any] | None = None
        self._failures: Mapping[str, Any] | None = None
        self._data: Mapping[str, Any] | None = None
        self._idempotency_key = None
        self._log = log
        self._connection = connection

    @property
    def input(self) -> InputT_co:
        """What the execution was started with."""
        return self._input

    @property
    def data(self) -> Mapping[str, Any]:
        """The outputs that are objects, as plain JSON, merged shallowly in the order in which the steps succeeded."""
        data = self._data
        if data is None:
            data = self._data = _read_only(self._past.data())
        return data

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What the steps that ran gave, by step name."""
        return _read_only(self._all_outputs())

    @property
    def execution_id(self) -> str:
        """The execution's id."""
        return self._at.id

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self._at.workflow

    @property
    def version(self) -> str:
        """The workflow's version on which this execution began."""
        return self._at.version

    @property
    def step(self) -> str:
        """The name of the step that runs."""
        return self._at.step or ""

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1, per visit."""
        return self._at.attempt

    @property
    def visit(self) -> int:
        """The number of this arrival at the step, from 1."""
        return self._at.visit

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this visit: `<execution>:<step>`, and `<execution>:<step>:<visit>` later."""
        key = self._idempotency_key
        if key is None:
            at = self._at
            key = f"{at.id}:{at.step}"
            return key if at.visit == 1 else f"{key}:{at.visit}"
        return key

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the caller of `start` attached to the execution."""
        metadata = self._at.metadata
        return _NOTHING if metadata is None else _read_only(metadata)

    @property
    def tags(self) -> tuple[str, ...]:
        """The execution's tags."""
        return tuple(self._at.tags)

    @property
    def log(self) -> logging.LoggerAdapter[Any] | logging.Logger:
        """A logger that adds the execution, the step and the attempt to every record."""
        log = self._log
        if log is None:
            return cast("logging.Logger", _SILENT)
        if callable(log):
            log = log()
            self._log = log
        return log

    @property
    def connection(self) -> Any:
        """The asyncpg connection of a transactional activity: what is written there is committed with the result.

        Raises RuntimeError in any other step.
        """
        if self._connection is None:
            raise RuntimeError(f"step {self.step!r} has no connection: make it @activity(transactional=True)")
        return self._connection

    @overload
    def output(self, step: Produces[OutT], /) -> OutT: ...
    @overload
    def output(self, step: Produces[OutT], /, default: DefaultT) -> OutT | DefaultT: ...
    @overload
    def output(self, step: str, /, default: Any = ...) -> Any: ...
    def output(self, step: Named | str, /, default: Any = _MISSING) -> Any:
        """Return what a step gave at its last visit: an activity's result, a wait's signal, a child's `Outcome`.

        Raises `StepNotRun` for a step that has not succeeded in this execution, unless *default* is given.
        """
        name = step if isinstance(step, str) else step.name
        found = self._all_outputs().get(name, _MISSING)
        if found is not _MISSING:
            return found
        if default is _MISSING:
            raise StepNotRun(name)
        return default

    @overload
    def failure(self, step: Named | str, /) -> Failure: ...
    @overload
    def failure(self, step: Named | str, /, default: DefaultT) -> Failure | DefaultT: ...
    def failure(self, step: Named | str, /, default: Any = _MISSING) -> Any:
        """Return how an activity's last attempt failed; for the steps that a `catch` leads to.

        Raises `StepNotRun` for a step that has not failed in this execution, unless *default* is given.
        """
        name = step if isinstance(step, str) else step.name
        failures = self._failures
        if failures is None:
            failures = self._failures = self._past.failures()
        found = failures.get(name, _MISSING)
        if found is not _MISSING:
            return found
        if default is _MISSING:
            raise StepNotRun(name, "failure")
        return default

    def __repr__(self) -> str:
        """Show which attempt of which step this is, and no payload."""
        at = self._at
        where = f"{at.workflow!r} {at.id!r}, step {at.step!r}"
        return f"<Context of {where}, visit {at.visit}, attempt {at.attempt}>"

    def _all_outputs(self) -> Mapping[str, Any]:
        outputs = self._outputs
        if outputs is None:
            outputs = self._outputs = self._past.outputs()
        return outputs


class StepContext(Context[Any]):
    """The engine's own: made for each call, so that nothing is worked out before a handler looks at it."""

    __slots__ = ()

    def __init__(
        self, input: Any, at: Attempt, past: Past, *, log: Callable[[], _Log] | None = None, connection: Any = None
    ) -> None:
        """Keep what is given."""
        self._fill(input, at, past, log, connection)


@dataclass(frozen=True, slots=True)
class _GivenAttempt:
    """Where a context that was made by hand stands."""

    id: str
    workflow: str
    version: str
    step: str
    attempt: int
    visit: int
    metadata: Mapping[str, Any] | None
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class _GivenPast:
    """The past of a context that was made by hand."""

    by_step: Mapping[str, Any]
    failed: Mapping[str, Any]
    merged: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None

    def outputs(self) -> Mapping[str, Any]:
        return self.by_step

    def failures(self) -> Mapping[str, Any]:
        return self.failed

    def data(self) -> Mapping[str, Any]:
        merged = self.merged
        if callable(merged):
            return merged()
        return _merged(self.by_step) if merged is None else merged


def _by_name(values: Mapping[Any, Any]) -> Mapping[str, Any]:
    """Return the same mapping if names are its keys, else a copy keyed by the steps' names."""
    if not isinstance(values, dict) or all(type(key) is str for key in values):  # a lazy mapping is never walked
        return values
    return {key if isinstance(key, str) else key.name: value for key, value in values.items()}


def _read_only(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(values) if isinstance(values, dict) else values


def _merged(outputs: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for value in outputs.values():
        try:
            plain = msgspec.to_builtins(value)
        except (TypeError, ValueError, OverflowError):
            continue  # a test double that is no JSON is no object either
        if isinstance(plain, dict):
            merged.update(cast("dict[str, Any]", plain))
    return merged


class _Silent:
    """Takes the place of a logger in contexts that are made by hand: every call goes nowhere."""

    def _ignore(self, *_args: object, **_options: object) -> None:
        """Do nothing."""

    debug = info = warning = error = exception = critical = log = _ignore


_SILENT: Final = _Silent()
