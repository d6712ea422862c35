"""Retention: deletes what ended long ago, one bounded batch after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from stepwell._checks import InvalidArgument
from stepwell._retry import Seconds, seconds
from stepwell._settings import positive

if TYPE_CHECKING:
    from stepwell.storage._protocol import Storage

__all__ = ["purge"]

_MAX_BATCH: Final = 10_000
_MAX_PAUSE: Final = 1.0
"""seconds between two batches"""


async def purge(storage: Storage, older_than: Seconds, batch: int) -> int:
    """Delete what ended longer ago than *older_than*, *batch* executions at a time; return how many.

    What ends meanwhile is left for the next purge: the age grows as time passes, so that the line between what goes and
    what stays is where it was in the beginning. Between two batches there is a pause as long as a batch took, so that
    the database is at least half of the time free for others.
    """
    age = seconds(older_than, "older_than")
    if positive(batch, "batch") > _MAX_BATCH:
        raise InvalidArgument(f"batch must be at most {_MAX_BATCH:,}, not {batch}")
    began = asked = anyio.current_time()
    deleted = 0
    while count := await storage.purge(age + (asked - began), limit=batch):
        deleted += count
        await anyio.sleep(min(anyio.current_time() - asked, _MAX_PAUSE))
        asked = anyio.current_time()
    return deleted
