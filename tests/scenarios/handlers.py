"""Handlers that do what a scenario says of their step, call by call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn

import anyio
from msgspec import UNSET

from stepwell import (
    DEFAULT,
    Context,
    PayloadError,
    Retry,
    StepCrashed,
    StepNotRun,
    StepTimedOut,
    StepwellError,
    UnknownRoute,
    Workflow,
    activity,
    decision,
    fail,
    subworkflow,
    succeed,
    wait,
)
from tests.scenarios.form import Call, RetryOf, StepOf
from tests.support.waiting import Gate

__all__ = ["ERRORS", "VALUES", "Broken", "Script", "Steps", "Worse"]


class Broken(Exception):
    """What handlers raise and catches take."""


class Worse(Broken):
    """A kind of it."""


class Quiet(BaseException):
    """No Exception."""


ERRORS: Final[dict[str, Callable[[], BaseException]]] = {
    "Broken": lambda: Broken("broken"),
    "Worse": lambda: Worse("worse"),
    "ValueError": lambda: ValueError("a bad value"),
    "TimeoutError": lambda: TimeoutError("of the handler's own"),
    "Quiet": lambda: Quiet("quiet"),
    "SystemExit": lambda: SystemExit(3),
    "Group": lambda: ExceptionGroup("two", [Broken("one"), ValueError("two")]),
}


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: Final[dict[str, Callable[[], Any]]] = {
    "none": lambda: None,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "set": lambda: {1, 2},
    "bytes": lambda: b"\x00\xff",
    "object": object,
    "cycle": _cycle,
    "nested too deep": lambda: _nested(200),
    "too large": lambda: "x" * 2_000_000,
    "lone surrogate": lambda: "\ud800",
    "keys that are no text": lambda: {1: "one"},
    "nul": lambda: "\x00",
    "large integer": lambda: 2**70,
    "decimal": lambda: Decimal("1.10"),
    "datetime": lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
}


class Script:
    """What the steps of one scenario do, in whichever process they are called."""

    def __init__(self, steps: Mapping[str, StepOf]) -> None:
        self.gates: defaultdict[str, Gate] = defaultdict(Gate)
        self._steps = steps
        self._calls: Counter[tuple[str, str]] = Counter()

    def of(self, step: str) -> StepOf:
        """Return what the scenario says of the step."""
        return self._steps.get(step) or StepOf()

    def next(self, step: str, ctx: Context[Any]) -> Call:
        """Return what this call of the step's handler does; each execution has calls of its own."""
        calls = self.of(step).calls
        number = self._calls[step, ctx.execution_id]
        self._calls[step, ctx.execution_id] += 1
        return calls[number] if number < len(calls) else Call()

    async def run(self, step: str, ctx: Context[Any], default: Any) -> Any:
        """Do it."""
        call = self.next(step, ctx)
        try:
            if call.gate is not None:
                await self.gates[call.gate].enter(ctx.execution_id)
            if call.shield:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(call.shield)
            if call.sleep:
                await anyio.sleep(call.sleep)
        except anyio.get_cancelled_exc_class():
            if not call.swallow:
                raise
        if call.raises == "cancellation":
            await _cancel_itself()
        if call.raises == "open scope":
            anyio.CancelScope().__enter__()
            return default
        return come_to(call, ctx, default)


def come_to(call: Call, ctx: Context[Any], default: Any) -> Any:
    """Return what the call returns, or raise what it raises."""
    if call.raises is not None:
        raise ERRORS[call.raises]()
    if call.value is not None:
        return VALUES[call.value]()
    if call.echo is not None:
        return _echo(call.echo, ctx)
    return default if call.returns is UNSET else call.returns


def _echo(what: str, ctx: Context[Any]) -> Any:
    kind, _, step = what.partition(":")
    match kind:
        case "output":
            return ctx.output(step)
        case "outcome":
            outcome = ctx.output(step)
            return [outcome.status, outcome.id.partition("~")[2]]
        case "failure":
            failure = ctx.failure(step)
            return [failure.code, failure.type.rpartition(".")[2]]
        case "key":
            return ctx.idempotency_key.partition("~")[2]
        case "data" | "metadata":
            return dict(getattr(ctx, kind))
        case "tags":
            return list(ctx.tags)
        case _:
            return getattr(ctx, kind)


async def _cancel_itself() -> NoReturn:
    """Raise a cancellation that nobody asked for."""
    leaked: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep(1)
        except anyio.get_cancelled_exc_class() as error:
            leaked.append(error)
            raise
    raise leaked[0]


CATCHABLE: Final[dict[str, type[BaseException]]] = {
    "Broken": Broken,
    "Worse": Worse,
    "ValueError": ValueError,
    "StepTimedOut": StepTimedOut,
    "StepCrashed": StepCrashed,
    "UnknownRoute": UnknownRoute,
    "PayloadError": PayloadError,
    "StepNotRun": StepNotRun,
    "StepwellError": StepwellError,
    "Exception": Exception,
}
"""What a catch or `give_up_on` may name."""


class Steps:
    """Makes the steps of a workflow, each with the handler and the settings that the scenario gives it."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def _settings(self, name: str) -> dict[str, Any]:
        step = self._script.of(name)
        timeout = DEFAULT if step.timeout is UNSET else None if step.timeout == "none" else step.timeout
        return {"name": name, "max_visits": step.max_visits, "timeout": timeout, "retry": _retry(step.retry)}

    def activity(self, name: str, *, returns: Any = Any) -> Any:
        async def handler(ctx: Context[Any]) -> Any:
            return await self._script.run(name, ctx, name)

        return activity(returns=returns, **self._settings(name))(handler)

    def transactional(self, name: str) -> Any:
        async def handler(ctx: Context[Any]) -> Any:
            call = self._script.next(name, ctx)
            for statement in call.sql:
                try:
                    await ctx.connection.execute(statement)
                except Exception:
                    if not call.swallow:
                        raise
            return come_to(call, ctx, name)

        return activity(returns=Any, transactional=True, **self._settings(name))(handler)

    def decision(self, name: str, default: str) -> Any:
        return decision(**self._settings(name))(self._one_of(name, default))

    def succeed(self, name: str) -> Any:
        return succeed(**self._settings_of_terminal(name))(self._one_of(name, name))

    def fail(self, name: str) -> Any:
        return fail(**self._settings_of_terminal(name))(self._one_of(name, name))

    def _settings_of_terminal(self, name: str) -> dict[str, Any]:
        settings = self._settings(name)
        return {"name": name, "timeout": settings["timeout"]}

    def _one_of(self, name: str, default: Any) -> Any:
        """Return a handler that is `async def` or plain, as the scenario has it."""

        async def later(ctx: Context[Any]) -> Any:
            return await self._script.run(name, ctx, default)

        def at_once(ctx: Context[Any]) -> Any:
            return come_to(self._script.next(name, ctx), ctx, default)

        return later if self._script.of(name).is_async else at_once

    def wait(self, name: str, *, signal: Any = Any) -> Any:
        step = self._script.of(name)

        async def later(ctx: Context[Any], payload: Any) -> Any:
            return await self._script.run(name, ctx, payload)

        def at_once(ctx: Context[Any], payload: Any) -> Any:
            return come_to(self._script.next(name, ctx), ctx, payload)

        timeout = step.timeout if isinstance(step.timeout, int | float) else None
        settings: dict[str, Any] = {"name": name, "timeout": timeout, "max_visits": step.max_visits, "signal": signal}
        return wait(**settings)(later if step.is_async else at_once)

    def has_timeout(self, name: str) -> bool:
        """Tell whether the scenario gives the wait a timeout."""
        return isinstance(self._script.of(name).timeout, int | float)

    def subworkflow(self, name: str, child: Workflow[Any, Any]) -> Any:
        async def handler(ctx: Context[Any]) -> Any:
            return await self._script.run(name, ctx, ctx.input)

        return subworkflow(child, name=name, max_visits=self._script.of(name).max_visits)(handler)


def _retry(given: int | RetryOf) -> int | Retry:
    if isinstance(given, int):
        return given
    return Retry(
        max_attempts=given.max_attempts,
        backoff=given.backoff,
        multiplier=given.multiplier,
        max_backoff=given.max_backoff,
        jitter=0.0,
        give_up_on=tuple(CATCHABLE[name] for name in given.give_up_on),
    )
