"""A worker process that stops as a supervisor (systemd, Kubernetes, a shell) expects: `python worker.py [DATABASE]`.

The first SIGTERM or Ctrl-C lets running steps finish, the second cancels them and hands their leases back at once. The
third ends the process where it stands: what ran then is taken over when its lease ends.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from signal import SIGINT, SIGTERM

import anyio
from anyio import TASK_STATUS_IGNORED, CancelScope, Event
from anyio.abc import TaskStatus

from stepwell import Context, Engine, SQLiteStorage, Workflow, activity, succeed


@activity(timeout=60)
async def nap(ctx: Context[float]) -> None:
    await anyio.sleep(ctx.input)


@succeed
def rested(ctx: Context[float]) -> str:
    return f"rested for {ctx.input:g} s"


naps = Workflow[float, str]("naps", version="1", start=nap, edges=[nap.then(rested)])


async def until_told(work: Callable[[Event], Awaitable[None]]) -> None:
    """Run *work*, which is to end once its event is set, and answer signals meanwhile."""
    leaving = Event()
    async with anyio.create_task_group() as tasks:
        with CancelScope() as scope:
            await tasks.start(answer_signals, leaving, scope)
            await work(leaving)
        tasks.cancel_scope.cancel()


async def answer_signals(
    leaving: Event, scope: CancelScope, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if not leaving.is_set():
                print("leaving: what runs may finish", flush=True)
                leaving.set()
            elif not scope.cancel_called:
                print("leaving: what runs is cancelled", flush=True)
                scope.cancel()
            else:
                os._exit(128 + number)


async def serve(leaving: Event) -> None:
    database = sys.argv[1] if len(sys.argv) > 1 else "flows.db"
    async with (
        SQLiteStorage(database) as storage,
        Engine(storage, workflows=[naps]) as engine,
        engine.worker(grace=25),  # less than the supervisor waits before it kills
    ):
        print("ready", flush=True)
        await leaving.wait()


if __name__ == "__main__":
    anyio.run(until_told, serve)
