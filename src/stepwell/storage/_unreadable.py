"""What is said of stored data that can't be read: it was damaged, or something else has written it.

A claim must not fail for it: all that is due would wait for the one execution of which something can't be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from stepwell._failure import describe, failure_of, shorten
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell._model import Stored

__all__ = ["UNREADABLE", "Unreadable", "readable", "unreadable", "why"]

UNREADABLE: Final = (LookupError, TypeError, ValueError, msgspec.MsgspecError)
"""what reading a status that there isn't, or JSON that is none, raises"""


class Unreadable(StorageError):
    """Raised where what is stored can't be read, while the storage itself answers: trying again helps nothing."""


def why(error: Exception) -> str:
    """Return in short what is wrong."""
    if type(error) is KeyError:
        return f"{describe(error.args[0])} is nothing that this release knows"
    return shorten(failure_of(error).summary, 120)


def unreadable(id: str, reason: str) -> Unreadable:
    """Return what a storage raises where an execution can't be read."""
    return Unreadable(f"what is stored of execution {id!r} can't be read: {reason}")


def readable(stored: Stored) -> Stored:
    """Return *stored*. Raises Unreadable where it can't be read."""
    if stored.unreadable:
        raise unreadable(stored.row.id, stored.unreadable)
    return stored
