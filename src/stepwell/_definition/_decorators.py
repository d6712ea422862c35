"""The six decorators. Each is usable bare (`@activity`) or called (`@activity(retry=3)`), on `def` and `async def`.

Why so many overloads: a handle must know both what its step gives (`Order`) and what calling it gives (a coroutine of
it, or the value itself), and no single signature tells a type checker both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast, overload

from stepwell._definition._making import make
from stepwell._definition._steps import DEFAULT, Activity, Decision, Default, Fail, Subworkflow, Succeed, Wait
from stepwell._typevars import ChildInputT, InputT, OutT, OutT_co, RouteT, SignalT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from stepwell._context import Context
    from stepwell._definition._workflow import Workflow
    from stepwell._retry import Retry, Seconds


class ActivityDecorator(Protocol):
    """What `activity(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[[Context[InputT]], Awaitable[OutT]], /
    ) -> Activity[InputT, OutT, Coroutine[Any, Any, OutT]]: ...
    @overload
    def __call__(self, function: Callable[[Context[InputT]], OutT], /) -> Activity[InputT, OutT, OutT]: ...


class DecisionDecorator(Protocol):
    """What `decision(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[[Context[InputT]], Awaitable[RouteT]], /
    ) -> Decision[InputT, RouteT, Coroutine[Any, Any, RouteT]]: ...
    @overload
    def __call__(self, function: Callable[[Context[InputT]], RouteT], /) -> Decision[InputT, RouteT, RouteT]: ...


class WaitDecorator(Protocol):
    """What `wait(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[[Context[InputT], SignalT], Awaitable[RouteT]], /
    ) -> Wait[InputT, SignalT, RouteT, Coroutine[Any, Any, RouteT]]: ...
    @overload
    def __call__(
        self, function: Callable[[Context[InputT], SignalT], RouteT], /
    ) -> Wait[InputT, SignalT, RouteT, RouteT]: ...


class SubworkflowDecorator(Protocol[ChildInputT, OutT_co]):
    """What `subworkflow(child)` returns."""

    @overload
    def __call__(
        self, function: Callable[[Context[InputT]], Awaitable[ChildInputT]], /
    ) -> Subworkflow[InputT, ChildInputT, OutT_co, Coroutine[Any, Any, ChildInputT]]: ...
    @overload
    def __call__(
        self, function: Callable[[Context[InputT]], ChildInputT], /
    ) -> Subworkflow[InputT, ChildInputT, OutT_co, ChildInputT]: ...


class SucceedDecorator(Protocol):
    """What `succeed(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[[Context[InputT]], Awaitable[OutT]], /
    ) -> Succeed[InputT, OutT, Coroutine[Any, Any, OutT]]: ...
    @overload
    def __call__(self, function: Callable[[Context[InputT]], OutT], /) -> Succeed[InputT, OutT, OutT]: ...


class FailDecorator(Protocol):
    """What `fail(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[[Context[InputT]], Awaitable[OutT]], /
    ) -> Fail[InputT, Coroutine[Any, Any, OutT]]: ...
    @overload
    def __call__(self, function: Callable[[Context[InputT]], OutT], /) -> Fail[InputT, OutT]: ...


@overload
def activity(
    function: Callable[[Context[InputT]], Awaitable[OutT]], /
) -> Activity[InputT, OutT, Coroutine[Any, Any, OutT]]: ...
@overload
def activity(function: Callable[[Context[InputT]], OutT], /) -> Activity[InputT, OutT, OutT]: ...
@overload
def activity(
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    retry: int | Retry = 1,
    timeout: Seconds | Default | None = DEFAULT,
    max_visits: int = 1,
    returns: Any = None,
    transactional: bool = False,
) -> ActivityDecorator: ...
def activity(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    retry: int | Retry = 1,
    timeout: Seconds | Default | None = DEFAULT,
    max_visits: int = 1,
    returns: Any = None,
    transactional: bool = False,
) -> Any:
    """Make a step that does something; its output is what the function returns.

    A plain `def` runs in a worker thread. *retry* is a number of attempts or a `Retry`; *timeout* is per attempt;
    *returns* takes the place of a return annotation that can't be resolved.

    With *transactional* the function gets `ctx.connection`, an asyncpg connection with an open transaction, and what it
    writes there is committed together with the step's result: both exactly once, or neither. It takes an `async def`, a
    `PostgresStorage` and asyncio. Where the transaction is lost, the function runs again.
    """

    def decorate(function: Callable[..., Any]) -> Activity[Any, Any, Any]:
        own = {"returns": returns, "transactional": transactional}
        return make(
            Activity,
            function,
            name=name,
            label=label,
            description=description,
            max_visits=max_visits,
            retry=retry,
            timeout=timeout,
            own=own,
        )

    return decorate if function is None else decorate(function)


@overload
def decision(
    function: Callable[[Context[InputT]], Awaitable[RouteT]], /
) -> Decision[InputT, RouteT, Coroutine[Any, Any, RouteT]]: ...
@overload
def decision(function: Callable[[Context[InputT]], RouteT], /) -> Decision[InputT, RouteT, RouteT]: ...
@overload
def decision(
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    retry: int | Retry = 1,
    timeout: Seconds | Default | None = DEFAULT,
    max_visits: int = 1,
) -> DecisionDecorator: ...
def decision(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    retry: int | Retry = 1,
    timeout: Seconds | Default | None = DEFAULT,
    max_visits: int = 1,
) -> Any:
    """Make a step that chooses: the function returns the route to take, a string or an Enum member.

    Annotate the return type with a `Literal` or an Enum, and the routes are checked against the edges. A plain `def`
    is called in line and must be quick; *timeout* counts for `async def` only.
    """

    def decorate(function: Callable[..., Any]) -> Decision[Any, Any, Any]:
        return make(
            Decision,
            function,
            name=name,
            label=label,
            description=description,
            max_visits=max_visits,
            retry=retry,
            timeout=timeout,
        )

    return decorate if function is None else decorate(function)


@overload
def wait(
    function: Callable[[Context[InputT], SignalT], Awaitable[RouteT]], /
) -> Wait[InputT, SignalT, RouteT, Coroutine[Any, Any, RouteT]]: ...
@overload
def wait(function: Callable[[Context[InputT], SignalT], RouteT], /) -> Wait[InputT, SignalT, RouteT, RouteT]: ...
@overload
def wait(
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    timeout: Seconds | None = None,
    max_visits: int = 1,
    signal: Any = None,
) -> WaitDecorator: ...
def wait(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    timeout: Seconds | None = None,
    max_visits: int = 1,
    signal: Any = None,
) -> Any:
    """Make a step that waits for a signal; the function gets it as second argument and returns the route to take.

    *timeout* is how long to wait; without it, for ever. *signal* takes the place of an annotation of the function's
    second parameter that can't be resolved.
    """

    def decorate(function: Callable[..., Any]) -> Wait[Any, Any, Any, Any]:
        given = ("context", "signal")
        own = {"signal": signal}
        return make(
            Wait,
            function,
            name=name,
            label=label,
            description=description,
            max_visits=max_visits,
            timeout=timeout,
            given=given,
            own=own,
        )

    return decorate if function is None else decorate(function)


def subworkflow(
    workflow: Workflow[ChildInputT, OutT],
    /,
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    max_visits: int = 1,
) -> SubworkflowDecorator[ChildInputT, OutT]:
    """Make a step that runs another workflow; the function returns the child's input.

    Its output is the child's `Outcome`, and its edges are one for each way in which the child can end.
    """

    def decorate(function: Callable[..., Any]) -> Subworkflow[Any, Any, Any, Any]:
        return make(
            Subworkflow,
            function,
            name=name,
            label=label,
            description=description,
            max_visits=max_visits,
            own={"child": workflow},
        )

    return cast("SubworkflowDecorator[ChildInputT, OutT]", decorate)


@overload
def succeed(
    function: Callable[[Context[InputT]], Awaitable[OutT]], /
) -> Succeed[InputT, OutT, Coroutine[Any, Any, OutT]]: ...
@overload
def succeed(function: Callable[[Context[InputT]], OutT], /) -> Succeed[InputT, OutT, OutT]: ...
@overload
def succeed(
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    timeout: Seconds | Default | None = DEFAULT,
) -> SucceedDecorator: ...
def succeed(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    timeout: Seconds | Default | None = DEFAULT,
) -> Any:
    """Make a step in which the execution succeeds: what the function returns is the execution's output."""

    def decorate(function: Callable[..., Any]) -> Succeed[Any, Any, Any]:
        return make(Succeed, function, name=name, label=label, description=description, timeout=timeout)

    return decorate if function is None else decorate(function)


@overload
def fail(function: Callable[[Context[InputT]], Awaitable[OutT]], /) -> Fail[InputT, Coroutine[Any, Any, OutT]]: ...
@overload
def fail(function: Callable[[Context[InputT]], OutT], /) -> Fail[InputT, OutT]: ...
@overload
def fail(
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    timeout: Seconds | Default | None = DEFAULT,
) -> FailDecorator: ...
def fail(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    label: str | None = None,
    description: str = "",
    timeout: Seconds | Default | None = DEFAULT,
) -> Any:
    """Make a step in which the execution fails: what the function returns is the execution's error."""

    def decorate(function: Callable[..., Any]) -> Fail[Any, Any]:
        return make(Fail, function, name=name, label=label, description=description, timeout=timeout)

    return decorate if function is None else decorate(function)
