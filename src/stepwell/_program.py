"""A workflow made ready to run: what can be worked out once per workflow is not worked out once per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell._codec import Codec, LimitExceeded, UnsupportedType, codec_for
from stepwell._definition import DEFAULT, StepKind, Subworkflow
from stepwell._execution import merged_data
from stepwell._failure import Failure
from stepwell._model import Definition, Status

if TYPE_CHECKING:
    from stepwell._definition import Step, Workflow
    from stepwell._history import History
    from stepwell._limits import Limits

__all__ = ["Program", "StoredPast"]


class Program:
    """A workflow with its types resolved and its codecs made. Raises DefinitionError where a type can't be resolved."""

    __slots__ = ("definition", "input", "inputs", "outputs", "result", "timeouts", "workflow")

    def __init__(self, workflow: Workflow[Any, Any], default_timeout: float | None, limits: Limits) -> None:
        types = workflow.bind()
        self.workflow = workflow
        if len(workflow.steps) > limits.graph:
            count = len(workflow.steps)
            reason = f"it has {count:,} steps, the limit is {limits.graph:,}"
            raise LimitExceeded(f"workflow {workflow.name!r}", "$", reason, limits.graph, count)
        self.input: Codec = _codec(types.input, f"workflow {workflow.name!r}: its input")
        self.result: Codec = _codec(types.output, f"workflow {workflow.name!r}: its output")
        places = {name: f"step {name!r} of workflow {workflow.name!r}" for name in workflow.steps}
        self.outputs: dict[str, Codec] = {
            name: _codec(step.output, f"{places[name]}: its result") for name, step in types.steps.items()
        }
        """what `Context.output` gives, by step"""
        self.inputs: dict[str, Codec] = {}
        """what a wait is signalled with, and what a subworkflow's function returns"""
        for name, step in workflow.steps.items():
            if step.kind is StepKind.WAIT:
                self.inputs[name] = _codec(types.steps[name].signal, f"{places[name]}: its signal")
            elif isinstance(step, Subworkflow):
                self.inputs[name] = _codec(step.child.bind().input, f"{places[name]}: the input of its child")
        self.timeouts = {name: _timeout(step, default_timeout) for name, step in workflow.steps.items()}
        graph = msgspec.json.encode(workflow.graph.to_json(), order="deterministic").decode()
        self.definition = Definition(workflow.name, workflow.version, workflow.digest, graph)


def _codec(type_: Any, where: str) -> Codec:
    """Return the codec of a type. Raises UnsupportedType, which says whose type it is."""
    try:
        return codec_for(type_)
    except UnsupportedType as error:
        raise UnsupportedType(f"{where}: {error}") from None


def _timeout(step: Step[Any, Any], default: float | None) -> float | None:
    """Return the seconds an attempt may take; a wait's own timeout is how long it waits, not how long it resolves."""
    if step.kind is StepKind.WAIT or step.timeout is DEFAULT:
        return default
    return step.timeout


class StoredPast:
    """What an execution has come to, as its contexts show it."""

    __slots__ = ("_history", "_program")

    def __init__(self, program: Program, history: History) -> None:
        self._program = program
        self._history = history

    def outputs(self) -> Mapping[str, Any]:
        """Return what the steps gave, by name; each is decoded when it is looked at."""
        return _Outputs(self._program, self._history)

    def failures(self) -> Mapping[str, Failure]:
        """Return how steps failed for good, by name."""
        return _Failures(self._history)

    def data(self) -> dict[str, Any]:
        """Return the outputs that are objects, merged. Raises PayloadError where one can't be read any more."""
        return merged_data(self._history)


class _Outputs(Mapping[str, Any]):
    """What the steps gave, decoded when it is asked for, once per context."""

    __slots__ = ("_decoded", "_history", "_program")

    def __init__(self, program: Program, history: History) -> None:
        self._program = program
        self._history = history
        self._decoded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return the output of the step's last visit."""
        if name in self._decoded:
            return self._decoded[name]
        step = self._history.steps.get(name)
        if step is None or step.output is None:
            raise KeyError(name)
        value = self._program.outputs[name].decode(step.output, what=f"the stored output of step {name!r}")
        self._decoded[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        """Yield the steps in the order in which they last succeeded."""
        return (step.name for step in self._history.succeeded())

    def __len__(self) -> int:
        """Return how many steps have an output."""
        return len(self._history.succeeded())


class _Failures(Mapping[str, Failure]):
    """Why the last attempt of a step failed, for the steps that failed for good."""

    __slots__ = ("_history",)

    def __init__(self, history: History) -> None:
        self._history = history

    def __getitem__(self, name: str) -> Failure:
        """Return the failure of the step's last attempt."""
        step = self._history.steps.get(name)
        if step is None or step.error is None or step.status is not Status.FAILED:
            raise KeyError(name)
        return msgspec.json.decode(step.error, type=Failure)

    def __iter__(self) -> Iterator[str]:
        """Yield the steps that failed."""
        return (name for name, step in self._history.steps.items() if step.status is Status.FAILED and step.error)

    def __len__(self) -> int:
        """Return how many steps failed."""
        return sum(1 for _ in self)
