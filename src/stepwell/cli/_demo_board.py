"""How the executions of a demo's run stand, as they were last looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stepwell.cli._inspect import family

if TYPE_CHECKING:
    from stepwell import Engine, Execution
    from stepwell.cli._demo_progress import Progress
    from stepwell.cli._demo_run import Member

__all__ = ["Board"]


class Board:
    """The executions of a run, with their children, and how far their steps say they are."""

    def __init__(self, members: tuple[Member, ...]) -> None:
        self._members = members
        self._titles = {member.handle.id: member.title for member in members}
        self._executions: dict[str, Execution] = {}
        self._children: dict[str, Execution] = {}
        self._progress: dict[tuple[str, str], Progress] = {}

    async def look(self, engine: Engine) -> None:
        """Read how they stand now."""
        for member in self._members:
            execution = await engine.get(member.handle.id)
            self._executions[execution.id] = execution
            self._children |= await family(engine, execution)

    @property
    def children(self) -> dict[str, Execution]:
        """Every child that was seen, by id."""
        return self._children

    def executions(self) -> Iterator[tuple[str, Execution]]:
        """Return what people call them, and how they stand."""
        for member in self._members:
            if (execution := self._executions.get(member.handle.id)) is not None:
                yield member.title, execution

    def title_of(self, id: str, parent: str | None = None) -> str | None:
        """Return what people call an execution, or the child of one; None for one of somebody else."""
        if id in self._titles:
            return self._titles[id]
        title = self._titles.get(parent or "")
        return None if title is None else f"{title}/{id.rpartition('/')[2]}"

    def note(self, id: str, step: str, progress: Progress) -> None:
        """Keep how far a step says it is."""
        self._progress[id, step] = progress

    def progress_of(self, id: str, step: str | None) -> Progress | None:
        """Return how far a step was when it last said so; without a step, the one at which the execution stands."""
        if step is None and (execution := self._executions.get(id)) is not None:
            step = execution.current_step
        return self._progress.get((id, step or ""))
