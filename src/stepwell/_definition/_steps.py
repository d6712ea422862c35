"""Step handles: what a decorator makes of a function, and the edges that leave it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Never, TypeAlias, TypeGuard, cast

from stepwell._errors import Problem, quoted
from stepwell._failure import shorten
from stepwell._graph import StepKind
from stepwell._retry import Retry, is_exception
from stepwell._typevars import (
    ChildInputT,
    InputT,
    InputT_contra,
    OutT_co,
    ResultT,
    ResultT_co,
    ReturnT_co,
    RouteT,
    SignalT,
    SourceT_contra,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell._context import Context, Outcome
    from stepwell._definition._workflow import Workflow


class Default(Enum):
    """The type of `DEFAULT`."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        """Show it as it is written."""
        return "DEFAULT"


DEFAULT: Final = Default.DEFAULT
"""A timeout that is the engine's `default_timeout`."""

Timeout: TypeAlias = float | Default | None
"""The time limit of a step: seconds, None for no limit, or `DEFAULT`."""

NEXT: Final = "next"
TIMEOUT: Final = "timeout"
ONCE: Final = Retry.of(1)
RESERVED: Final = (
    "the route 'timeout' of a wait is taken when nobody signals in time; call a route of your own otherwise"
)
_LABEL_LENGTH: Final = 128


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step(Generic[InputT_contra, ResultT_co]):
    """A step of a workflow: a function, and how it is to be run.

    Made by the decorators only. Two handles are never equal; one handle may serve several workflows. What is wrong
    with a handle stands in `problems` until a workflow is made of it.
    """

    kind: ClassVar[StepKind]

    name: str
    function: Callable[..., Any]
    is_async: bool
    label: str
    description: str = ""
    max_visits: int = 1
    timeout: Timeout = DEFAULT
    retry: Retry = ONCE
    transactional: bool = False
    """whether its result is committed with rows of the user's own, in one transaction: activities only"""
    problems: tuple[Problem, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether an execution ends here."""
        return self.kind in (StepKind.SUCCEED, StepKind.FAIL)

    def __repr__(self) -> str:
        """Show the kind and the name."""
        return f"<{self.kind} {self.name}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Activity(Step[InputT_contra, Never], Generic[InputT_contra, OutT_co, ReturnT_co]):
    """A step that does something: its output is what the function returns."""

    kind: ClassVar = StepKind.ACTIVITY
    returns: Any = None

    if TYPE_CHECKING:

        @property
        def produces(self) -> OutT_co:
            """What `Context.output` returns for this step."""
            ...

    def __call__(self, context: Context[InputT_contra], /) -> ReturnT_co:
        """Call the function itself, as a unit test does."""
        result: ReturnT_co = _call(self, context)
        return result

    def then(
        self,
        target: Step[InputT, ResultT],
        /,
        *,
        catch: Mapping[type[BaseException], Step[InputT, ResultT]] | None = None,
    ) -> Edges[InputT_contra, InputT, ResultT]:
        """Return the edges to the next step, and to the steps that take over once it has finally failed.

        *catch* is matched by `isinstance` against the last error, first match first.
        """
        caught, problems = _catches(self, {} if catch is None else catch)
        return Edges(
            self,
            ((NEXT, target), *((label, step) for _, label, step in caught)),
            tuple((error, label) for error, label, _ in caught),
            problems,
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Decision(Step[InputT_contra, Never], Generic[InputT_contra, RouteT, ReturnT_co]):
    """A step that chooses: it returns the route to take."""

    kind: ClassVar = StepKind.DECISION

    def __call__(self, context: Context[InputT_contra], /) -> ReturnT_co:
        """Call the function itself, as a unit test does."""
        result: ReturnT_co = _call(self, context)
        return result

    def to(self, routes: Mapping[RouteT, Step[InputT, ResultT]], /) -> Edges[InputT_contra, InputT, ResultT]:
        """Return the edges of all routes that the function may return."""
        return _edges_of(self, routes)


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Wait(Step[InputT_contra, Never], Generic[InputT_contra, SignalT, RouteT, ReturnT_co]):
    """A step that waits for a signal; the function turns the signal into the route to take.

    Its output is the signal. `timeout` is how long to wait, None for ever.
    """

    kind: ClassVar = StepKind.WAIT
    timeout: float | None = None
    signal: Any = None

    if TYPE_CHECKING:

        @property
        def produces(self) -> SignalT:
            """What `Context.output` returns for this step."""
            ...

    def __call__(self, context: Context[InputT_contra], signal: SignalT, /) -> ReturnT_co:
        """Call the function itself, as a unit test does."""
        result: ReturnT_co = _call(self, context, signal)
        return result

    def to(
        self,
        routes: Mapping[RouteT, Step[InputT, ResultT]],
        /,
        *,
        timeout: Step[InputT, ResultT] | None = None,
    ) -> Edges[InputT_contra, InputT, ResultT]:
        """Return the edges of all routes that the function may return, and where to go when nobody signals in time."""
        edges = _edges_of(self, routes, reserved=TIMEOUT)
        if timeout is None:
            return edges
        return Edges(self, (*edges.targets, (TIMEOUT, timeout)), problems=edges.problems)


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Subworkflow(Step[InputT_contra, Never], Generic[InputT_contra, ChildInputT, OutT_co, ReturnT_co]):
    """A step that runs another workflow; the function makes its input, and its output is how the child ended."""

    kind: ClassVar = StepKind.SUBWORKFLOW
    child: Workflow[Any, Any]

    if TYPE_CHECKING:

        @property
        def produces(self) -> Outcome[OutT_co]:
            """What `Context.output` returns for this step."""
            ...

    def __call__(self, context: Context[InputT_contra], /) -> ReturnT_co:
        """Call the function itself, as a unit test does."""
        result: ReturnT_co = _call(self, context)
        return result

    def to(
        self,
        *,
        succeeded: Step[InputT, ResultT],
        failed: Step[InputT, ResultT],
        cancelled: Step[InputT, ResultT],
    ) -> Edges[InputT_contra, InputT, ResultT]:
        """Return the edges for each way in which the child can end."""
        ends: dict[str, object] = {"succeeded": succeeded, "failed": failed, "cancelled": cancelled}
        given = tuple((label, step) for label, step in ends.items() if step is not None)
        problems = tuple(
            Problem("missing-child-route", self.name, f"has no edge for a child that {label}; pass {label}=<a step>")
            for label, step in ends.items()
            if step is None
        )
        return Edges(self, given, problems=problems)


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Succeed(Step[InputT_contra, OutT_co], Generic[InputT_contra, OutT_co, ReturnT_co]):
    """A step in which the execution succeeds, with what the function returns."""

    kind: ClassVar = StepKind.SUCCEED

    def __call__(self, context: Context[InputT_contra], /) -> ReturnT_co:
        """Call the function itself, as a unit test does."""
        result: ReturnT_co = _call(self, context)
        return result


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Fail(Step[InputT_contra, Never], Generic[InputT_contra, ReturnT_co]):
    """A step in which the execution fails, with what the function returns as its error."""

    kind: ClassVar = StepKind.FAIL

    def __call__(self, context: Context[InputT_contra], /) -> ReturnT_co:
        """Call the function itself, as a unit test does."""
        result: ReturnT_co = _call(self, context)
        return result


@dataclass(frozen=True, eq=False)  # no slots: a frozen class with slots can't be made by way of its subscript
class Edges(Generic[SourceT_contra, InputT_contra, ResultT_co]):
    """All edges that leave one step, as its `then` or `to` made them; checked when the workflow is made."""

    source: Step[Any, Any]
    targets: tuple[tuple[str, object], ...]
    catches: tuple[tuple[type[BaseException], str], ...] = ()
    problems: tuple[Problem, ...] = ()


def route_label(value: object) -> str:
    """Return the label of the edge that a handler's return value stands for: a string, or the value of an Enum.

    Raises `TypeError` for anything else: a number, None, a list, an Enum whose value is neither text nor a number.
    """
    kind: type[object] = type(value)  # what the value says of its class, and other code of its own, is not asked for
    is_enum = issubclass(kind, Enum)
    plain: object = object.__getattribute__(value, "_value_") if is_enum else value
    if issubclass(type(plain), str):
        return str.__str__(cast("str", plain))
    if is_enum and issubclass(type(plain), int) and type(plain) is not bool:
        return int.__repr__(cast("int", plain))
    message = f"a route is a string or an Enum member whose value is one, not {quoted(value)}"
    raise TypeError(message)


def is_step(value: object) -> TypeGuard[Step[Any, Any]]:
    """Tell whether a value is a step handle."""
    return isinstance(value, Step)


def shown(value: object) -> str:
    """Return what was given in place of something else, for a message: a step by its kind and name."""
    return shorten(ascii(repr(value))[1:-1], 80) if is_step(value) else quoted(value)


def is_label(text: str) -> bool:
    """Tell whether a text may be the label of a route: printable, and 1 to 128 characters long."""
    return 1 <= len(text) <= _LABEL_LENGTH and text.isprintable()


def _edges_of(step: Step[Any, Any], routes: object, *, reserved: str | None = None) -> Edges[Any, Any, Any]:
    if not isinstance(routes, Mapping):
        message = f"to() takes a mapping of routes to steps, not {quoted(routes)}"
        return Edges(step, (), problems=(Problem("bad-edge", step.name, message),))
    targets: dict[str, object] = {}
    problems: list[Problem] = []
    for route, target in cast("Mapping[object, object]", routes).items():
        try:
            label = route_label(route)
        except TypeError as error:
            problems.append(Problem("bad-route", step.name, str(error)))
            continue
        if not is_label(label):
            message = f"the route {quoted(label)} must be 1 to {_LABEL_LENGTH} printable characters"
            problems.append(Problem("bad-route", step.name, message))
        elif label == reserved:
            problems.append(Problem("reserved-route", step.name, RESERVED))
        elif label in targets:
            message = f"has two edges for the route {quoted(label)}; keep one"
            problems.append(Problem("duplicate-route", step.name, message))
        else:
            targets[label] = target
    return Edges(step, tuple(targets.items()), problems=tuple(problems))


_Caught: TypeAlias = list[tuple[type[BaseException], str, object]]


def _catches(step: Step[Any, Any], catch: object) -> tuple[_Caught, tuple[Problem, ...]]:
    if not isinstance(catch, Mapping):
        message = f"catch= takes a mapping of exception classes to steps, not {quoted(catch)}"
        return [], (Problem("bad-catch", step.name, message),)
    caught: _Caught = []
    problems: list[Problem] = []
    labels: set[str] = set()
    for error, target in cast("Mapping[object, object]", catch).items():
        if not is_exception(error):
            message = f"catch= is keyed by exception classes, and {quoted(error)} is none"
            problems.append(Problem("bad-catch", step.name, message))
            continue
        earlier = next((known for known, _, _ in caught if issubclass(error, known)), None)
        if earlier is not None:
            message = f"catch= never gets to {error.__qualname__}, for {earlier.__qualname__} before it matches first; "
            problems.append(Problem("shadowed-catch", step.name, f"{message}put the narrower class first"))
        label = _catch_label(error, labels)
        labels.add(label)
        caught.append((error, label, target))
    return caught, tuple(problems)


def _catch_label(error: type[BaseException], taken: set[str]) -> str:
    """Return `catch:<class>`, with as much before or after it as tells it from a namesake."""
    name = error.__qualname__.rpartition("<locals>.")[2]
    label, full = f"catch:{name}", f"catch:{error.__module__}.{name}"
    if label not in taken:
        return label
    number, label = 2, full
    while label in taken:
        number, label = number + 1, f"{full}#{number}"
    return label


def _call(step: Step[Any, Any], *arguments: object) -> Any:
    function: object = step.function
    if not callable(function):
        message = f"step {quoted(step.name)} can't be called: {'; '.join(map(str, step.problems))}"
        raise TypeError(message)
    result = function(*arguments)
    if step.is_async and not inspect.iscoroutine(result):
        return _awaited(result)
    return result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result
