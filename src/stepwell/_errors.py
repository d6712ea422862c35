"""Every error that Stepwell raises derives from `StepwellError`; each says when it is raised and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stepwell._failure import describe, shorten

if TYPE_CHECKING:
    from stepwell._failure import Failure

_SHOWN: Final = 50
_NAME_LENGTH: Final = 60


class StepwellError(Exception):
    """The base of every error of this library."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition: a stable code, the step it is about (if any), and what to do."""

    code: str
    step: str | None
    message: str

    def __str__(self) -> str:
        """Show the problem on one line, the step's name escaped and shortened."""
        where = "" if self.step is None else f"step {quoted(self.step)}: "
        return f"[{self.code}] {where}{self.message}"


class DefinitionError(StepwellError, ValueError):
    """Raised when a workflow is made or registered and its definition is wrong; it holds all problems at once."""

    def __init__(self, workflow: object, problems: tuple[Problem, ...]) -> None:
        self.workflow = workflow
        self.problems = problems
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"workflow {quoted(workflow)} has {count}:", *(f"  {problem}" for problem in problems[:_SHOWN])]
        if len(problems) > _SHOWN:
            lines.append(f"  … and {len(problems) - _SHOWN} more, in .problems")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[DefinitionError], tuple[object, tuple[Problem, ...]]]:
        """Pickle by the arguments, so that the error crosses a process border whole."""
        return type(self), (self.workflow, self.problems)


class StepNotRun(StepwellError, LookupError):
    """Raised by `Context.output` and `Context.failure` for a step that has none in this execution."""

    def __init__(self, step: str, what: str = "output") -> None:
        super().__init__(
            f"step {quoted(step)} has no {what} in this execution; pass default=… if that may happen on this path"
        )
        self.step = step
        self.what = what

    def __reduce__(self) -> tuple[type[StepNotRun], tuple[str, str]]:
        """Pickle by the arguments, so that the error crosses a process border whole."""
        return type(self), (self.step, self.what)


def quoted(value: object) -> str:
    """Return a value as `describe` does, escaped to ASCII: a name may hold letters that look like others."""
    return shorten(describe(value, _NAME_LENGTH).encode("ascii", "backslashreplace").decode(), _NAME_LENGTH)


# -- what a client is told ---------------------------------------------------------------------------------------------


class EngineClosed(StepwellError, RuntimeError):
    """Raised when an engine is used outside of `async with engine`, or in another event loop or process than that."""

    def __init__(self, name: str, *, is_elsewhere: bool = False) -> None:
        super().__init__(
            f"engine {quoted(name)} is open in another event loop or process: call it from another thread with "
            "`anyio.from_thread.run`, or open an engine here"
            if is_elsewhere
            else f"engine {quoted(name)} is not open: use it inside `async with engine:`"
        )
        self.name = name


class UnknownWorkflow(StepwellError, LookupError):
    """Raised when no workflow of that name, or of that version, is registered with the engine."""

    def __init__(self, workflow: str, version: str | None, known: tuple[tuple[str, str], ...]) -> None:
        versions = [v for w, v in known if w == workflow]
        if versions and version is None:
            what = (
                f"workflow {quoted(workflow)} is registered in several versions ({', '.join(versions)}): pass version=…"
            )
        elif versions:
            what = (
                f"workflow {quoted(workflow)} has no version {quoted(version)} here; registered: {', '.join(versions)}"
            )
        else:
            names = ", ".join(sorted({w for w, _ in known})[:_SHOWN]) or "none"
            what = f"no workflow {quoted(workflow)} is registered with this engine; registered: {names}"
        super().__init__(what)
        self.workflow = workflow
        self.version = version
        self.known = known


class DefinitionChanged(StepwellError, ValueError):
    """Raised when a workflow differs from the one that live executions of the same name and version use."""

    def __init__(self, workflow: str, version: str, difference: str) -> None:
        super().__init__(
            f"workflow {quoted(workflow)} version {quoted(version)} differs from the one that live executions use; "
            f"give the changed workflow a new version, or let those end first:\n{difference}"
        )
        self.workflow = workflow
        self.version = version
        self.difference = difference


class ExecutionNotFound(StepwellError, LookupError):
    """Raised when no execution with the given id is stored."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no execution {quoted(id)}")
        self.id = id


class ExecutionConflict(StepwellError, ValueError):
    """Raised when an execution with this id was started with another workflow or another input."""

    def __init__(self, id: str, difference: str) -> None:
        super().__init__(
            f"execution {quoted(id)} was started before with other content: {difference}; "
            "use another id, or start it with the same workflow and input"
        )
        self.id = id


class ExecutionEnded(StepwellError):
    """Raised when an execution that has ended is asked for something that only a live one can do."""

    def __init__(self, id: str, status: str, asked: str) -> None:
        super().__init__(f"execution {quoted(id)} has already {_ENDED.get(status, status)}; it can't take a {asked}")
        self.id = id
        self.status = status


class NotResumable(StepwellError):
    """Raised by `resume` where there is nothing to go on with."""

    def __init__(self, id: str, why: str) -> None:
        super().__init__(f"execution {quoted(id)} can't be resumed: {why}")
        self.id = id


class ExecutionFailed(StepwellError):
    """Raised by `result()` when the execution has failed.

    `failure` is the Failure of the step that ended it, or None where a `fail` step did; then `value` is what that step
    returned.
    """

    def __init__(self, id: str, workflow: str, step: str | None, failure: Failure | None, value: object) -> None:
        why = failure.summary if failure is not None else quoted(value)
        super().__init__(f"execution {quoted(id)} of {quoted(workflow)} failed at step {quoted(step)}: {why}")
        self.id = id
        self.workflow = workflow
        self.step = step
        self.failure = failure
        self.value = value


class ExecutionCancelled(StepwellError):
    """Raised by `result()` when the execution was cancelled."""

    def __init__(self, id: str, workflow: str, reason: str) -> None:
        because = f": {reason}" if reason else ""
        super().__init__(f"execution {quoted(id)} of {quoted(workflow)} was cancelled{because}")
        self.id = id
        self.workflow = workflow
        self.reason = reason


# -- signals -----------------------------------------------------------------------------------------------------------


class SignalError(StepwellError):
    """The base of what can be wrong with a signal. Nothing of it is stored."""


class UnknownStep(SignalError, LookupError):
    """Raised when the workflow has no step of that name."""

    def __init__(self, workflow: str, step: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"workflow {quoted(workflow)} has no step {quoted(step)}; its steps: {', '.join(known[:_SHOWN])}"
        )
        self.workflow = workflow
        self.step = step


class NotAWait(SignalError, ValueError):
    """Raised when a signal is sent to a step that doesn't wait for one."""

    def __init__(self, workflow: str, step: str, kind: str, waits: tuple[str, ...]) -> None:
        known = ", ".join(waits) or "none"
        super().__init__(
            f"step {quoted(step)} of {quoted(workflow)} is of kind {kind} and takes no signal; its waits: {known}"
        )
        self.workflow = workflow
        self.step = step


class AlreadySignalled(SignalError):
    """Raised when this visit of the wait has its signal already."""

    def __init__(self, id: str, step: str) -> None:
        super().__init__(
            f"wait {quoted(step)} of execution {quoted(id)} was signalled already; "
            "to repeat a signal safely, send it with the same signal_id"
        )
        self.id = id
        self.step = step


class SignalConflict(SignalError, ValueError):
    """Raised when the signal id was used before with another step or payload."""

    def __init__(self, id: str, signal_id: str) -> None:
        super().__init__(f"execution {quoted(id)} got signal {quoted(signal_id)} before with other content")
        self.id = id
        self.signal_id = signal_id


class WaitPassed(SignalError):
    """Raised when the wait can't be reached any more from where the execution stands."""

    def __init__(self, id: str, step: str) -> None:
        super().__init__(f"execution {quoted(id)} has passed wait {quoted(step)} or can't reach it any more")
        self.id = id
        self.step = step


class SignalRejected(SignalError):
    """Raised when the open wait's resolver raised on this signal; its cause is what was raised. The wait stays open."""

    def __init__(self, id: str, step: str, error: str) -> None:
        super().__init__(f"wait {quoted(step)} of execution {quoted(id)} didn't take the signal: {error}")
        self.id = id
        self.step = step


class TooManySignals(SignalError):
    """Raised when as many signals as the limit allows lie there unused."""

    def __init__(self, id: str, pending: int, limit: int) -> None:
        super().__init__(f"execution {quoted(id)} has {pending} unused signals; the limit is {limit}")
        self.id = id
        self.limit = limit


# -- what becomes a step's failure -------------------------------------------------------------------------------------


class StepTimedOut(StepwellError, TimeoutError):
    """The error of an attempt that took longer than its timeout. `catch=` may name it."""

    def __init__(self, workflow: str, step: str, timeout: float) -> None:
        super().__init__(f"step {quoted(step)} of {quoted(workflow)} took longer than its timeout of {timeout:g} s")


class StepCrashed(StepwellError):
    """The error of a step whose worker disappeared too often while running it. `catch=` may name it."""

    def __init__(self, workflow: str, step: str, lost: int) -> None:
        super().__init__(f"the worker disappeared {lost} times while running step {quoted(step)} of {quoted(workflow)}")


class ExecutionUnreadable(StepwellError):
    """The error of an execution of which something stored can't be read, so that no step of it can be run."""

    def __init__(self, id: str, why: str) -> None:
        super().__init__(
            f"what is stored of execution {quoted(id)} can't be read: {shorten(why, 200)}; "
            "once that is mended, resume it"
        )
        self.id = id


class VisitsExceeded(StepwellError):
    """The error of an arrival beyond a step's `max_visits`."""

    def __init__(self, workflow: str, step: str, max_visits: int) -> None:
        super().__init__(
            f"step {quoted(step)} of {quoted(workflow)} was reached more often than its max_visits={max_visits} allows"
        )


class UnknownRoute(StepwellError, ValueError):
    """The error of a decision or a wait that returned a route which has no edge."""

    def __init__(self, workflow: str, step: str, route: object, known: tuple[str, ...]) -> None:
        super().__init__(
            f"step {quoted(step)} of {quoted(workflow)} returned {quoted(route)}, which is none of its routes: "
            + ", ".join(known)
        )


class SpuriousCancellation(StepwellError):
    """The error of a step in which user code raised a cancellation that nobody had asked for."""

    def __init__(self, workflow: str, step: str) -> None:
        super().__init__(
            f"step {quoted(step)} of {quoted(workflow)} ended with a cancellation that the engine didn't ask for"
        )


class ScopeLeftOpen(StepwellError):
    """The error of a step whose handler ended with a cancel scope or a task group of its own still open."""

    def __init__(self, workflow: str, step: str) -> None:
        super().__init__(
            f"step {quoted(step)} of {quoted(workflow)} ended with a cancel scope or a task group still open; "
            "leave each in the handler that entered it, best by `with`"
        )


# -- the engine's own --------------------------------------------------------------------------------------------------


class IllegalTransition(StepwellError):
    """Raised when the table of statuses forbids what was asked; nothing is committed."""

    def __init__(self, id: str, before: str, after: str) -> None:
        super().__init__(f"execution {quoted(id)} can't go from {before} to {after}")
        self.id = id
        self.before = before
        self.after = after


class WorkerCrashed(StepwellError):
    """Raised out of `engine.worker()` when the worker died; its cause holds what happened."""


class UnstoppableHandler(StepwellError):
    """Raised out of a worker that is to exit (`on_unstoppable="exit"`) when a handler went on after its cancellation.

    Out of `engine.worker()` it comes as the cause of a WorkerCrashed.
    """

    def __init__(self, id: str, step: str) -> None:
        super().__init__(f"step {quoted(step)} of execution {quoted(id)} goes on although it was cancelled")
        self.id = id
        self.step = step


_ENDED: Final = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}
