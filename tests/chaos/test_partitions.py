"""A worker in a network namespace of its own, from which nothing goes out, or into which nothing comes. Takes root.

Packets are sent to an address that no card has: nobody is told, and TCP itself is alive.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

import msgspec
import pytest

from tests.chaos.jobs import Job
from tests.chaos.places import ROOT, SCRIPT, SOON, Place, result, start
from tests.chaos.worker import Options
from tests.support.postgres import Server
from tests.support.processes import Child, run_command
from tests.support.wire import Proxy, proxied

pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.chaos]

NOBODY: Final = "02:00:00:00:00:fe"
LEASE: Final = 3.0


def ip(*words: str) -> None:
    program = shutil.which("ip")
    assert program is not None
    subprocess.run([program, *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Namespace:
    """A network of two: this machine, and the namespace."""

    name: str
    near: str
    far: str
    card: str

    def drop(self, *, out: bool, into: bool) -> None:
        """Lose what leaves the namespace, what comes into it, or both."""
        if out:
            ip(
                "-n",
                self.name,
                "neigh",
                "replace",
                self.near,
                "lladdr",
                NOBODY,
                "dev",
                f"{self.card}b",
                "nud",
                "permanent",
            )
        if into:
            ip("neigh", "replace", self.far, "lladdr", NOBODY, "dev", self.card, "nud", "permanent")

    def heal(self) -> None:
        for words in (
            ["-n", self.name, "neigh", "del", self.near, "dev", f"{self.card}b"],
            ["neigh", "del", self.far, "dev", self.card],
        ):
            with suppress(subprocess.CalledProcessError):  # it was never replaced
                ip(*words)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("a network namespace takes root and the program `ip`")
    name = f"stepwell{token_hex(3)}"
    made = Namespace(name, "198.18.77.1", "198.18.77.2", f"sw{token_hex(3)}")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.decode()}")
    try:
        ip("link", "add", made.card, "type", "veth", "peer", "name", f"{made.card}b", "netns", name)
        ip("addr", "add", f"{made.near}/30", "dev", made.card)
        ip("link", "set", made.card, "up")
        ip("-n", name, "addr", "add", f"{made.far}/30", "dev", f"{made.card}b")
        ip("-n", name, "link", "set", f"{made.card}b", "up")
        yield made
    finally:
        ip("netns", "del", name)  # and with it the cards


@asynccontextmanager
async def worker_inside(namespace: Namespace, wire: Proxy, place: Place, server: Server) -> AsyncGenerator[Child]:
    """Run a worker in the namespace, which reaches the server through the card alone."""
    db = place.db.replace(f"@{server.host}:{server.port}/", f"@{wire.host}:{wire.port}/")
    options: Any = {"db": db, "backend": place.backend, "lease": LEASE, "name": "inside"}
    told = msgspec.json.encode(Options(**options)).decode()
    command = ["ip", "netns", "exec", namespace.name, sys.executable, "-u", str(SCRIPT), told]
    async with run_command(*command, environment={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}) as child:
        await child.line("ready", within=SOON)
        yield child


@pytest.mark.parametrize("ways", ["out", "into", "out into"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.promise("P3", "I4")
async def test_a_worker_that_is_cut_off_has_stopped_before_another_begins(
    own_postgres: Server, namespace: Namespace, ways: str, backend: str
) -> None:
    place = Place(own_postgres.dsn, backend)
    id = f"{backend} {ways}"
    async with (
        place.engine() as engine,
        proxied((own_postgres.host, own_postgres.port), namespace.near) as wire,
        worker_inside(namespace, wire, place, own_postgres) as inside,
    ):
        await start(engine, id, Job("hold"))
        await inside.line(f"tick {id} 1")
        namespace.drop(out="out" in ways, into="into" in ways)
        async with place.worker(name="outside", lease=LEASE) as outside:
            stopped = await inside.line(f"cancelled {id} 1", within=SOON)
            begun = await outside.line(f"begin {id} 2", within=SOON)
            assert float(stopped.split()[-1]) < float(begun.split()[-1])
            assert await result(engine, id) == "1 by attempt 2"
        namespace.heal()
        await start(engine, f"{id} after")
        assert await result(engine, f"{id} after") == "1 by attempt 1", "it works again, by itself"
    await place.check()
