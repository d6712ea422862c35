"""What a storage offers whose tables lie beside the user's own: work that is committed together with rows of theirs.

Optional: a storage without these methods serves every engine that doesn't ask for them.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stepwell._errors import StepwellError

if TYPE_CHECKING:
    from stepwell._model import Stored, Unit

__all__ = ["CallersTransaction", "StepTransaction", "TransactionLost", "TransactionRefused", "TransactionalStorage"]


class TransactionRefused(StepwellError):
    """Raised when a step's transaction can't be committed: a constraint doesn't hold, say, or an error was swallowed.

    Nothing of it was written, but for what the step has committed itself.
    """


class TransactionLost(StepwellError):
    """Raised when a step's transaction is gone through no fault of its own, as by a deadlock: it is run again."""


class CallersTransaction(Protocol):
    """A transaction that the caller opened, and will commit or roll back."""

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution as this transaction sees it."""
        ...

    async def commit(self, unit: Unit, /) -> bool:
        """Write *unit* into the transaction, or nothing and return False if a guard fails. Raises StorageError."""
        ...


class StepTransaction(Protocol):
    """A transaction that is opened for a step."""

    @property
    def connection(self) -> Any:
        """What the step is given to write its own rows with."""
        ...

    def is_lost(self, error: BaseException | None, /) -> bool:
        """Tell whether the transaction is gone through no fault of the step's, which has raised *error*."""
        ...

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution as this transaction sees it; after a commit of unknown outcome, once that is over.

        Raises TransactionLost, and StorageError.
        """
        ...

    async def commit(self, unit: Unit, /) -> bool | None:
        """Write *unit* and commit the transaction with it; what was begun can't be cancelled.

        All is open still where it returns False, since a guard doesn't hold, or None, since somebody else has locked a
        row. Raises TransactionRefused, TransactionLost, and StorageError where it may be committed or not.
        """
        ...


@runtime_checkable
class TransactionalStorage(Protocol):
    """A storage that takes part in transactions of the user's."""

    def no_transactions_because(self) -> str | None:
        """Return why it can't here, or None if it can."""
        ...

    def within(self, connection: Any, /) -> CallersTransaction:
        """Return the transaction that is open on *connection*. Raises InvalidArgument where there is none."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[StepTransaction]:
        """Open a transaction for a step; left without a commit, it is rolled back."""
        ...
