"""Which workflows an engine knows, made ready to run, and whether its storage knows them too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from stepwell._checks import InvalidArgument
from stepwell._definition import Workflow
from stepwell._difference import difference
from stepwell._errors import DefinitionChanged, UnknownWorkflow
from stepwell._failure import describe, type_name
from stepwell._program import Program
from stepwell._transactions import transactional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell._limits import Limits
    from stepwell._model import Definition
    from stepwell.storage._protocol import Storage

__all__ = ["Registry"]

_Refusal: TypeAlias = DefinitionChanged | InvalidArgument


class Registry:
    """The workflows of one engine, by name and version."""

    def __init__(self, limits: Limits, default_timeout: float | None) -> None:
        self._limits = limits
        self._default_timeout = default_timeout
        self.programs: dict[tuple[str, str], Program] = {}
        """what can be started, and run by a worker that has called `publish` before"""
        self._unpublished: dict[tuple[str, str], Program] = {}
        self._refused: dict[tuple[str, str], tuple[Program, _Refusal]] = {}
        self._publishing = anyio.Lock()

    def add(self, workflow: Workflow[Any, Any]) -> None:
        """Make a workflow and its children known; the same one twice is harmless.

        Raises DefinitionError where a type can't be resolved, and DefinitionChanged where another graph has the name
        and version already.
        """
        if not isinstance(workflow, Workflow):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            raise InvalidArgument(f"a Workflow is needed, not {type_name(workflow)}: {describe(workflow)}")
        known = self.programs.get(workflow.key)
        if known is not None and known.workflow is workflow:
            return
        program = Program(workflow, self._default_timeout, self._limits)
        if known is not None and known.workflow.digest != workflow.digest:
            raise _changed(known.definition, program.definition)
        for child in workflow.children:
            self.add(child)
        self.programs[workflow.key] = program
        self._unpublished[workflow.key] = program

    def add_all(self, workflows: Sequence[Workflow[Any, Any]]) -> None:
        """Make several workflows known."""
        if not isinstance(workflows, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            raise InvalidArgument(f"workflows must be a list of them, not {describe(workflows)}")
        for workflow in workflows:
            self.add(workflow)

    def begin(self) -> None:
        """Assume nothing of what the storage knows: it may be another than before, on another event loop."""
        for program, _ in self._refused.values():
            self.programs[program.workflow.key] = program
        self._refused = {}
        self._unpublished = dict(self.programs)
        self._publishing = anyio.Lock()

    @property
    def has_news(self) -> bool:
        """Whether the storage doesn't know every workflow yet."""
        return bool(self._unpublished) or self._publishing.locked()

    async def publish(self, storage: Storage) -> list[_Refusal]:
        """Make the storage know what was added since; return the errors of what it refuses, which can't be started.

        Refused is a definition of which live executions use another graph, and one with transactional steps where the
        storage can't run them. The other workflows go on.
        """
        if not self.has_news:
            return []
        async with self._publishing:  # whoever comes meanwhile waits: nothing is started or claimed before it is known
            programs, self._unpublished = self._unpublished, {}
            if not programs:
                return []
            unfit = {key: error for key, program in programs.items() if (error := _misfit(storage, program))}
            fit = {key: program for key, program in programs.items() if key not in unfit}
            try:
                contradicting = await storage.define([program.definition for program in fit.values()]) if fit else ()
            except BaseException:
                self._unpublished = {**programs, **self._unpublished}
                raise
            refused = [self._refuse(programs[key], error) for key, error in unfit.items()]
            for stored in contradicting:
                program = programs[stored.workflow, stored.version]
                refused.append(self._refuse(program, _changed(stored, program.definition)))
            return refused

    def _refuse(self, program: Program, error: _Refusal) -> _Refusal:
        self._refused[program.workflow.key] = (program, error)
        self.programs.pop(program.workflow.key, None)
        return error

    async def ready(self, storage: Storage, workflow: Workflow[Any, Any] | str, version: str | None) -> Program:
        """Return the workflow's program once the storage knows it; one that was refused before is tried again.

        Raises UnknownWorkflow, DefinitionChanged, and InvalidArgument where the storage can't run it.
        """
        await self.publish(storage)
        try:
            return self.find(workflow, version)
        except DefinitionChanged:
            key = workflow.key if isinstance(workflow, Workflow) else (workflow, version)
            again = [known for known in self._refused if known == key or known[0] == workflow]
            for known in again:
                self._unpublished[known] = self.programs[known] = self._refused.pop(known)[0]
            await self.publish(storage)
            return self.find(workflow, version)

    def find(self, workflow: Workflow[Any, Any] | str, version: str | None = None) -> Program:
        """Return the workflow's program.

        Raises UnknownWorkflow, also without a version where several are known; DefinitionChanged or InvalidArgument for
        one that the storage refused; and DefinitionChanged for one that differs from what is registered under its name
        and version.
        """
        if isinstance(workflow, Workflow):
            program = self._lookup(workflow.key)
            if program is None:
                raise UnknownWorkflow(workflow.name, workflow.version, tuple(self.programs))
            if program.workflow is not workflow and program.workflow.digest != workflow.digest:
                raise _changed(program.definition, Program(workflow, self._default_timeout, self._limits).definition)
            return program if version is None else self.find(workflow.name, version)
        if type(workflow) is not str:
            raise InvalidArgument(f"a Workflow or a workflow's name is needed, not {describe(workflow)}")
        versions = [v for name, v in (*self.programs, *self._refused) if name == workflow]
        if version is None and len(versions) == 1:
            version = versions[0]
        program = None if version is None else self._lookup((workflow, version))
        if program is None:
            raise UnknownWorkflow(workflow, version, tuple(self.programs))
        return program

    def _lookup(self, key: tuple[str, str]) -> Program | None:
        if key in self._refused:
            raise _anew(self._refused[key][1])
        return self.programs.get(key)


def _misfit(storage: Storage, program: Program) -> InvalidArgument | None:
    """Say why transactional steps, if there are any, can't run with this storage."""
    for step in program.workflow.steps.values():
        if step.transactional:
            what = f"transactional=True, of step {step.name!r} of workflow {program.workflow.name!r},"
            try:
                transactional(storage, what)
            except InvalidArgument as error:
                return error
    return None


def _anew(error: _Refusal) -> _Refusal:
    """Return the same error, which may be raised more than once."""
    if isinstance(error, DefinitionChanged):
        return DefinitionChanged(error.workflow, error.version, error.difference)
    return InvalidArgument(*error.args)


def _changed(known: Definition, changed: Definition) -> DefinitionChanged:
    return DefinitionChanged(changed.workflow, changed.version, difference(known.graph, changed.graph))
