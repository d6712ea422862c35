"""A connection that user code is lent: what it does to the session must not be seen by whoever gets it next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import asyncpg

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[Any]
else:
    _Connection = asyncpg.Connection  # no generic class while it runs

__all__ = ["CLEAN", "UsersConnection"]

CLEAN: Final = """
    SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;
    DISCARD TEMP; DISCARD SEQUENCES"""
"""What DISCARD ALL does, without the prepared statements, which the driver counts on."""


class UsersConnection(_Connection):
    """Remembers whether it was changed in a way that no statement can undo."""

    is_altered = False
    """whether codecs were set: they belong to the driver, which can't tell what there was before"""

    async def set_type_codec(self, *args: Any, **options: Any) -> None:
        """Do as any connection does."""
        self.is_altered = True
        await super().set_type_codec(*args, **options)

    async def set_builtin_type_codec(self, *args: Any, **options: Any) -> None:
        """Do as any connection does."""
        self.is_altered = True
        await super().set_builtin_type_codec(*args, **options)
