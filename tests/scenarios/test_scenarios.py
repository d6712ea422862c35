"""Every scenario ends as it says, line by line of its journal, on every storage and backend.

Those of one file share a storage: each has workflows and ids of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.storage import Storage
from tests.engine.flows import check_all
from tests.scenarios.form import DATA, read
from tests.scenarios.stage import play
from tests.support.storages import Clock

pytestmark = pytest.mark.anyio

FILES = sorted(DATA.glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_every_scenario_ends_as_it_says(file: Path, storage: Storage, clock: Clock) -> None:
    faults: list[str] = []
    for number, scenario in enumerate(read(file)):
        found = await play(scenario, storage, number=number, clock=clock)
        faults += [f"\n== {file.name}: {scenario.name}", *found] if found else []
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)
    await check_all(storage)
