"""Which workflows an engine knows, made ready to run, and whether its storage knows them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell._definition import Workflow
from stepwell._errors import DefinitionChanged, UnknownWorkflow
from stepwell._difference import difference
from stepwell._program import Program

if TYPE_CHECKING:
    from stepwell._limits import Limits
    from stepwell.storage._protocol import Storage

__all__ = ["Registry"]


class Registry:
    """The workflows of one engine, by name and version."""

    def __init__(self, limits: Limits, default_timeout: float | None) -> None:
        self._limits = limits
        self._default_timeout = default_timeout
        self.programs: dict[tuple[str, str], Program] = {}
        self._unpublished: list[Program] = []

    def add(self, workflow: Workflow[Any, Any]) -> None:
        """Make a workflow and its children known; the same one twice is harmless.

        Raises DefinitionError where a type can't be resolved, and DefinitionChanged where another graph has the name and
        version already.
        """
        if not isinstance(workflow, Workflow):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            raise TypeError(f"a Workflow is needed, not {workflow!r}")
        known = self.programs.get(workflow.key)
        if known is not None and known.workflow is workflow:
            return
        program = Program(workflow, self._default_timeout, self._limits)
        if known is not None and known.workflow.digest != workflow.digest:
            changed = difference(known.definition.graph, program.definition.graph)
            raise DefinitionChanged(workflow.name, workflow.version, changed)
        for child in workflow.children:
            self.add(child)
        self.programs[workflow.key] = program
        self._unpublished.append(program)

    async def publish(self, storage: Storage) -> None:
        """Make the storage know what was added since. Raises DefinitionChanged where live executions use another graph."""
        while self._unpublished:
            programs = {p.workflow.key: p for p in self._unpublished}
            self._unpublished = []
            try:
                contradicting = await storage.define([p.definition for p in programs.values()])
            except BaseException:
                self._unpublished.extend(programs.values())
                raise
            for stored in contradicting:
                mine = programs[stored.workflow, stored.version].definition
                self._unpublished.extend(programs.values())
                raise DefinitionChanged(stored.workflow, stored.version, difference(stored.graph, mine.graph))

    def find(self, workflow: Workflow[Any, Any] | str, version: str | None = None) -> Program:
        """Return the workflow's program. Raises UnknownWorkflow; without a version where several are known, too."""
        if isinstance(workflow, Workflow):
            program = self.programs.get(workflow.key)
            if program is None or (program.workflow is not workflow and program.workflow.digest != workflow.digest):
                raise UnknownWorkflow(workflow.name, workflow.version, tuple(self.programs))
            return program if version is None else self.find(workflow.name, version)
        versions = [v for name, v in self.programs if name == workflow]
        if version is None and len(versions) == 1:
            version = versions[0]
        program = None if version is None else self.programs.get((workflow, version))
        if program is None:
            raise UnknownWorkflow(workflow, version, tuple(self.programs))
        return program
