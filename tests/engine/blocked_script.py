"""Programs whose handlers block or can't be stopped, for the tests: `python blocked_script.py <backend> <what>`.

*what*: `interrupt` (a handler blocks for a minute), `fork` (a handler forks a child, which ends), `exit` (a handler
swallows every cancellation, and the worker is to exit), `end` (the program ends while a worker runs in a thread).
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from contextlib import suppress

import anyio

from stepwell import Engine, MemoryStorage, Workflow, _leases, _worker
from tests.engine.flows import Ctx, line


def tell(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


async def interrupt(ctx: Ctx) -> int:
    tell("blocks")
    time.sleep(60)  # noqa: ASYNC251 (that is what is tested)
    return 1


def child_work() -> None:
    tell("child", [thread.name for thread in threading.enumerate() if "watchdog" in thread.name])


async def fork(ctx: Ctx) -> int:
    child = multiprocessing.get_context("fork").Process(target=child_work)
    child.start()
    child.join(20)  # and the loop is blocked meanwhile
    tell("child ended", child.exitcode)
    return 1


async def deaf(ctx: Ctx) -> int:
    tell("listens to nobody")
    while True:
        with suppress(BaseException):
            await anyio.sleep_forever()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)


HANDLERS = {"interrupt": interrupt, "fork": fork, "exit": deaf, "end": deaf}


async def main(what: str) -> None:
    flow: Workflow[int, int] = line(HANDLERS[what], timeout=None if what == "end" else 60 if what != "exit" else 0.2)
    async with (
        MemoryStorage() as storage,
        Engine(storage, workflows=[flow], lease=0.5) as engine,
        engine.worker(grace=0.2, on_unstoppable="exit"),
    ):
        tell("result", await (await engine.start(flow, 1)).result())


def run() -> None:
    anyio.run(main, what, backend=backend)


if __name__ == "__main__":
    backend, what = sys.argv[1:]
    _leases._UNSTOPPABLE_AFTER, _worker._EXIT_LIMIT = 0.3, 0.5  # type: ignore[misc] # the tests have no time
    try:
        if what == "end":
            threading.Thread(target=run, daemon=True).start()
            sys.stdin.readline()
        else:
            run()
    except KeyboardInterrupt:
        tell("interrupted")
        sys.exit(130)
    tell("ends")
