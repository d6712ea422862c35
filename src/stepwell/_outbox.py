"""Starts and signals that belong to a transaction of the caller's: they happen exactly if the caller's rows do.

Nothing of them is known here before the caller commits, so no worker takes them at once and no event tells of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell._client import check_same, known_id
from stepwell._errors import ExecutionNotFound
from stepwell._model import Deposit, Signal
from stepwell._transactions import transactional
from stepwell._transition import Accepted, State, accept, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepwell._model import Moment, Stored
    from stepwell._program import Program
    from stepwell._services import Services

__all__ = ["Outbox"]


class Outbox:
    """What can be asked for within one open transaction."""

    def __init__(self, services: Services, connection: Any) -> None:
        """Look at the connection. Raises InvalidArgument, and StorageError where no transaction is open."""
        self._services = services
        self._transaction = transactional(services.storage, "connection=…").within(connection)

    async def start(
        self,
        program: Program,
        input: str,
        *,
        id: str | None,
        tags: tuple[str, ...],
        metadata: Mapping[str, Any],
        due: Moment,
        pinned: bool,
    ) -> str:
        """Create an execution and return its id; the same id with the same content is the same execution."""
        change = begin(
            program.workflow,
            id=self._services.entropy.id() if id is None else id,
            input=input,
            change_id=self._services.change_id(),
            tags=tags,
            metadata=metadata,
            due=due,
        )
        id = change.row.id
        if not await self._transaction.commit((change,)):
            check_same(await self._load(id), program, input, pinned=pinned)
        return id

    async def signal(
        self, program_of: Callable[[Stored], Program], id: str, step: str, payload: Any, signal_id: str
    ) -> None:
        """Lay a signal down for its wait; whoever runs the wait's resolver does so after the caller's commit."""
        while True:
            stored = await self._load(known_id(id))
            program = program_of(stored)
            what = f"the signal to step {step!r} of workflow {program.workflow.name!r}"
            text = "null"
            if step in program.inputs:
                text = program.inputs[step].canonical(payload, limits=self._services.limits, what=what)
            signal = Signal(signal_id, step, text)
            limit = self._services.limits.pending_signals
            taken = accept(program.workflow, stored, State.of(stored), signal, max_pending=limit)
            deposit = Deposit(id=id, signal=signal, expects=stored.row.signals)
            if taken is Accepted.DUPLICATE or await self._transaction.commit((deposit,)):
                return

    async def _load(self, id: str) -> Stored:
        stored = await self._transaction.load(id)
        if stored is None:
            raise ExecutionNotFound(id)
        return stored
