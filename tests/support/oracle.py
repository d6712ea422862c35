"""What must hold of all that a storage keeps, whatever happened to those who wrote it: one place to ask.

Reads through the protocol alone, so it serves every storage.
"""

from __future__ import annotations

from stepwell._model import Query, Stored
from stepwell.storage import Storage
from stepwell.testing import InvariantsBroken, check_invariants

__all__ = ["breaches_in", "everything_in"]


async def everything_in(storage: Storage) -> dict[str, Stored]:
    """Return all executions, by id."""
    found: dict[str, Stored] = {}
    after: tuple[int, str] | None = None
    while True:
        page = await storage.find(Query(limit=500, after=after))
        for row in page.rows:
            stored = await storage.load(row.id)
            assert stored is not None, row.id
            found[row.id] = stored
        if not page.more:
            return found
        after = (page.rows[-1].created_at, page.rows[-1].id)


async def breaches_in(storage: Storage) -> list[str]:
    """Return every promise that is broken, in words; nothing where all is well."""
    try:
        await check_invariants(storage)
    except InvariantsBroken as broken:
        return [str(breach) for breach in broken.breaches]
    return []
