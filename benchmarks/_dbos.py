"""The same workflow as DBOS has it: three async steps, as its documentation tells, on its default settings.

DBOS isn't one of our dependencies: `pip install --group peers`, or `nox -s bench_peers`.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["is_installed", "opened_dbos"]

Receipt = dict[str, Any]


def is_installed() -> bool:
    """Tell whether there is DBOS to be measured."""
    return find_spec("dbos") is not None


async def reserve(number: int) -> Receipt:
    return {"number": number, "text": "reserved"}


async def charge(number: int) -> Receipt:
    return {"number": number, "text": "charged"}


async def ship(number: int) -> Receipt:
    return {"number": number, "text": "shipped"}


def opened_dbos(dsn: str) -> AbstractContextManager[Callable[[int], Awaitable[Receipt]]]:
    """Launch DBOS on this database; give what starts one workflow and waits for its result."""
    return _opened(importlib.import_module("dbos").DBOS, dsn)


@contextmanager
def _opened(dbos: Any, dsn: str) -> Generator[Callable[[int], Awaitable[Receipt]]]:
    first, second, third = (dbos.step()(handler) for handler in (reserve, charge, ship))

    async def order(number: int) -> Receipt:
        await first(number)
        await second(number)
        receipt: Receipt = await third(number)
        return receipt

    workflow = dbos.workflow()(order)

    async def call(number: int) -> Receipt:
        handle = await dbos.start_workflow_async(workflow, number)
        receipt: Receipt = await handle.get_result()
        return receipt

    dbos(config={"name": "stepwell-benchmarks", "system_database_url": dsn})
    dbos.launch()
    try:
        yield call
    finally:
        dbos.destroy()
