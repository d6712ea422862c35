"""Whether a storage can take part in transactions of the user's, and what to say where it can't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell._checks import InvalidArgument
from stepwell._failure import type_name
from stepwell.storage._transactions import TransactionalStorage

if TYPE_CHECKING:
    from stepwell.storage._protocol import Storage

__all__ = ["transactional"]


def transactional(storage: Storage, what: str) -> TransactionalStorage:
    """Return the storage as one that takes part in transactions. Raises InvalidArgument where it can't."""
    if not isinstance(storage, TransactionalStorage):
        raise InvalidArgument(
            f"{what} needs a storage beside your own tables: PostgresStorage, not {type_name(storage)}"
        )
    reason = storage.no_transactions_because()
    if reason is not None:
        raise InvalidArgument(f"{what} works on asyncio only: {reason}")
    return storage
