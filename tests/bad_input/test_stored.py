"""Cases 25 and 48: what is stored was damaged. That execution alone fails; the others, and their worker, go on."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any, Literal

import pytest

from stepwell import (
    Engine,
    Event,
    ExecutionFailed,
    ExecutionUnreadable,
    Failure,
    PayloadError,
    Status,
    StepwellError,
    StorageError,
    Workflow,
    activity,
    succeed,
    verify,
    wait,
)
from stepwell.storage import Storage
from tests.engine.small import healthy
from tests.support.storages import StorageFactory, StorageKind

pytestmark = pytest.mark.anyio

on_disk = pytest.mark.parametrize("storage_kind", ["sqlite", "postgres"])
"""What is in memory nobody else can write."""


@activity
async def give(ctx: Any) -> dict[str, Any]:
    return {"a": 1.5}


@wait
def gate(ctx: Any, signal: dict[str, float]) -> Literal["go"]:
    return "go"


@activity
async def take(ctx: Any) -> Any:
    return [ctx.output(give), ctx.output(gate), dict(ctx.data)]


@succeed
def done(ctx: Any) -> dict[str, float]:
    given: dict[str, float] = ctx.input
    return given


flow = Workflow[dict[str, float], dict[str, float]](
    "flow", version="1", start=give, edges=[give.then(gate), gate.to({"go": take}), take.then(done)]
)


def _input(text: str) -> str:
    return f"UPDATE inputs SET input = '{text}' WHERE execution_id = 'bad'"  # noqa: S608 -- in SQLite, a table of its own


def damage(kind: StorageKind, address: str, *statements: str) -> None:
    """Write into the tables of execution `bad` by hand."""
    if kind == "sqlite":
        with closing(sqlite3.connect(address)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        return
    from tests.support.postgres.by_hand import execute  # noqa: PLC0415 (the driver is only needed here)

    joined = "; ".join(("SET search_path = stepwell", *statements))
    for text in re.findall(r"UPDATE inputs .*? WHERE execution_id", joined):
        joined = joined.replace(
            text, text.replace("UPDATE inputs", "UPDATE executions").removesuffix("execution_id") + "id"
        )
    execute(address, joined)


ROW = "UPDATE executions SET {} WHERE id = 'bad'"
JOURNAL = "UPDATE journal SET {} WHERE execution_id = 'bad' AND kind = 'step.succeeded'"

DAMAGES: dict[str, tuple[str, str, str]] = {
    "48-truncated-input": (_input('{"x": 1'), "payload", "the input of execution 'bad'"),
    "48-input-of-another-type": (_input("[1]"), "payload", "Expected `object`, got `array`"),
    "25-number-beyond-floats": (_input('{"x": 1e400}'), "payload", "out of range"),
    "28-10000-digits": (_input('{"x": ' + "9" * 10_000 + "}"), "payload", "out of range"),
    "40-100000-levels": (_input("[" * 100_000), "payload", "Expected `object`"),
    "48-truncated-output": (JOURNAL.format("payload = '{\"a\": 1'"), "error", "the stored output of step 'give'"),
    "48-output-of-another-type": (JOURNAL.format("payload = '[1]'"), "error", "the stored output of step 'give'"),
    "48-truncated-tags": (ROW.format("tags = '[\"a'"), "unreadable", "truncated"),
    "48-truncated-metadata": (ROW.format("metadata = '{\"a'"), "unreadable", "truncated"),
    "48-metadata-of-another-type": (ROW.format("metadata = '[1]'"), "unreadable", "Expected `object`"),
    "48-unknown-kind": (JOURNAL.format("kind = 'step.danced'"), "unreadable", "step.danced"),
    "48-unknown-status": (
        "UPDATE journal SET ref = 'dancing' WHERE execution_id = 'bad' AND kind = 'execution.claimed'",
        "unreadable",
        "dancing",
    ),
    "48-unknown-status-of-the-row": (ROW.format("status = 'dancing'"), "unreadable", "dancing"),
}


ONLY_IN_SQLITE = {
    "40-100000-levels",
    "48-truncated-input",
    "48-truncated-output",
    "48-truncated-tags",
    "48-truncated-metadata",
}
"""damages that Postgres refuses, since it knows what JSON is"""


async def _begun(storage: Storage) -> None:
    """Let execution `bad` suspend at its wait and get its signal, so that it is due."""
    async with Engine(storage, workflows=[flow]) as engine:
        await engine.start(flow, {"x": 1.0}, id="bad", tags=["one"], metadata={"key": 1})
        await engine.run_until_idle()
        await engine.signal("bad", "gate", {"b": 2.0})


@on_disk
@pytest.mark.parametrize("name", DAMAGES)
async def test_what_is_damaged_fails_alone_with_its_id_and_the_reason(
    storage_factory: StorageFactory, storage_kind: StorageKind, storage_address: str, name: str
) -> None:
    statement, code, told = DAMAGES[name]
    if storage_kind == "postgres" and name in ONLY_IN_SQLITE:
        with pytest.raises(Exception, match=r"invalid input syntax for type json|stack depth limit"):
            damage(storage_kind, storage_address, statement)
        return
    heard: list[Event] = []
    async with storage_factory() as storage:
        await _begun(storage)
        damage(storage_kind, storage_address, statement)
        async with Engine(storage, workflows=[flow, healthy]) as engine:
            engine.on((), heard.append)  # who listens is told of each claim, of what can't be read, too
            good = [await engine.start(healthy, number) for number in range(3)]
            with pytest.MonkeyPatch.context() as patch:
                failures: list[str] = []

                def tell(text: str, *values: object) -> None:
                    failures.append(text % values)

                patch.setattr("stepwell._calls.logger.error", tell)
                async with engine.worker():
                    for number, execution in enumerate(good):
                        assert await execution.result(60) == number
                    assert await (await engine.start(healthy, 7)).result(60) == 7
            assert len(failures) == (code == "unreadable")
            assert "execution.failed" in {
                event.kind for event in heard if event.execution and event.execution.id == "bad"
            }
        if code == "unreadable":
            damage(storage_kind, storage_address, *_mended(name))
        async with Engine(storage, workflows=[flow]) as engine, engine.worker():
            with pytest.raises(ExecutionFailed) as caught:
                await engine.handle(flow, "bad").result(60)
            failure = caught.value.failure
            assert failure is not None
            assert (failure.code, "'bad'" in failure.message or code == "error") == (code, True)
            assert told in failure.message
            stored = await storage.load("bad")
            assert stored is not None
            assert stored.row.revision == len(stored.journal), "gapless, and as the row says"
            if code != "error":
                await _goes_on(engine, storage_kind, storage_address)


@on_disk
@pytest.mark.synthetic
@pytest.mark.parametrize(("step", "told"), [("'nowhere'", "'nowhere'"), ("NULL", "None")])
async def test_a_step_that_its_workflow_does_not_have_fails_its_execution_alone(
    storage_factory: StorageFactory, storage_kind: StorageKind, storage_address: str, step: str, told: str
) -> None:
    async with storage_factory() as storage, Engine(storage, workflows=[flow, healthy]) as engine:
        await _begun(storage)
        damage(storage_kind, storage_address, ROW.format(f"step = {step}"))
        async with engine.worker():
            assert await (await engine.start(healthy, 7)).result(60) == 7
            with pytest.raises(ExecutionFailed) as caught:
                await engine.handle(flow, "bad").result(60)
    failure = caught.value.failure
    assert failure is not None
    assert (failure.code, f"its step, {told}, is none of its workflow's" in failure.message) == ("unreadable", True)


GONE: dict[str, tuple[list[str], str]] = {
    "input": (["DELETE FROM inputs WHERE execution_id = 'bad'"], "its input is gone"),
    "input-no-utf-8": (["UPDATE inputs SET input = {} WHERE execution_id = 'bad'"], "no UTF-8"),
    "payload-no-utf-8": ([JOURNAL.format("payload = {}")], "no UTF-8"),
    "step-no-utf-8": ([ROW.format("step = {}")], "no UTF-8"),
    "signal-no-utf-8": (["UPDATE signals SET payload = {} WHERE execution_id = 'bad'"], "no UTF-8"),
    "all-of-it": ([ROW.format("tags = {0}, worker = {0}"), JOURNAL.format("kind = 'x'")], "no UTF-8"),
}
"""what Postgres does not let happen: a table of its own, and bytes that are no text"""


@pytest.mark.synthetic
@pytest.mark.parametrize("storage_kind", ["sqlite"])
@pytest.mark.parametrize("name", GONE)
async def test_what_is_gone_or_no_text_any_more_fails_alone_too(
    storage_factory: StorageFactory, storage_address: str, name: str
) -> None:
    statements, told = GONE[name]
    async with storage_factory() as storage, Engine(storage, workflows=[flow, healthy]) as engine:
        await _begun(storage)
        damage("sqlite", storage_address, *(one.format("CAST(x'ff61' AS TEXT)") for one in statements))
        (breach,) = (await verify(storage)).breaches
        assert (breach.rule, told in str(breach)) == ("readable", True)
        for ask in (engine.get, engine.cancel, engine.resume):
            with pytest.raises(StorageError, match=f"execution 'bad' can't be read: .*{told}"):
                await ask("bad")
        good = [await engine.start(healthy, number) for number in range(3)]
        assert await engine.run_until_idle() == 4, "it is claimed with the others, and once"
        assert [await handle.result(1) for handle in good] == [0, 1, 2]
    assert _status(storage_address) == "failed"


def _status(address: str) -> str:
    with closing(sqlite3.connect(address)) as connection:
        (status,) = connection.execute("SELECT status FROM executions WHERE id = 'bad'").fetchone()
    return str(status)


def _mended(name: str) -> list[str]:
    """Return what undoes the damage."""
    del name
    return [
        ROW.format("tags = '[\"one\"]', metadata = '{\"key\":1}'"),
        "UPDATE journal SET kind = 'step.succeeded' WHERE execution_id = 'bad' AND kind = 'step.danced'",
        "UPDATE journal SET ref = 'queued' WHERE execution_id = 'bad' AND ref = 'dancing'",
    ]


async def _goes_on(engine: Engine, kind: StorageKind, address: str) -> None:
    """Once it is mended, it can be resumed, and comes to its end."""
    damage(kind, address, _input('{"x":1.0}'))
    await engine.resume("bad")
    if (await engine.get("bad")).status is Status.SUSPENDED:
        await engine.signal("bad", "gate", {"b": 3.0})
    assert await engine.handle(flow, "bad").result(60) == {"x": 1.0}


@on_disk
async def test_clients_are_told_which_execution_can_not_be_read(
    storage_factory: StorageFactory, storage_kind: StorageKind, storage_address: str
) -> None:
    async with storage_factory() as storage, Engine(storage, workflows=[flow, healthy]) as engine:
        await engine.start(flow, {"x": 1.0}, id="bad")
        await engine.run_until_idle()
        damage(storage_kind, storage_address, DAMAGES["48-unknown-status"][0])
        calls: list[Any] = [
            lambda: engine.get("bad"),
            lambda: engine.signal("bad", gate, {"a": 1.0}),
            lambda: engine.cancel("bad"),
            lambda: engine.pause("bad"),
            lambda: engine.resume("bad"),
        ]
        for call in calls[:-1]:
            with pytest.raises(ExecutionUnreadable, match=r"of execution 'bad' can't be read: its journal.*resume it"):
                await call()
        damage(storage_kind, storage_address, *_mended(""), ROW.format("status = 'dancing'"))
        for call in [*calls, engine.find]:
            with pytest.raises(StorageError, match=r"execution 'bad' can't be read: 'dancing'"):
                await call()
        damage(storage_kind, storage_address, ROW.format("status = 'suspended'"))
        await engine.signal("bad", gate, {"a": 1.0})
        await engine.run_until_idle()
        assert (await engine.get("bad")).status is Status.SUCCEEDED


@pytest.mark.synthetic
@pytest.mark.parametrize("storage_kind", ["sqlite"])  # Postgres knows what JSON is, and takes nothing else
async def test_what_can_be_read_is_shown_beside_what_can_not(
    storage_factory: StorageFactory, storage_kind: StorageKind, storage_address: str
) -> None:
    async with storage_factory() as storage, Engine(storage, workflows=[flow, healthy]) as engine:
        await engine.start(healthy, 1, id="good")
        await engine.start(flow, {"x": 1.0}, id="bad")
        await engine.run_until_idle()
        damage(storage_kind, storage_address, _input("{broken"), JOURNAL.format("payload = '{broken'"))
        page = {found.id: found for found in (await engine.find()).executions}
        assert page["good"].input == 1
        shown = await engine.get("bad")
        for value in (page["bad"].input, shown.input, shown.steps["give"].output):
            assert isinstance(value, Failure)
            assert (value.code, "can't be read" in value.message) == ("payload", True)
        assert (shown.status, dict(shown.data)) == (Status.SUSPENDED, {})
        assert [entry.kind for entry in await engine.journal("bad")][-1] == "step.suspended"
        with pytest.raises(PayloadError, match="the input of execution 'bad'"):
            await engine.signal("bad", gate, {"a": 1.0})
        damage(storage_kind, storage_address, ROW.format("status = 'failed', error = '{broken', ended_at = created_at"))
        with pytest.raises(StepwellError, match="can't be read"):
            await engine.handle(flow, "bad").result(60)


@pytest.mark.parametrize("storage_kind", ["sqlite"])
async def test_a_damaged_graph_is_written_anew(
    storage_factory: StorageFactory, storage_kind: StorageKind, storage_address: str
) -> None:
    async with storage_factory() as storage:
        async with Engine(storage, workflows=[healthy]):
            pass
        damage(storage_kind, storage_address, "UPDATE workflows SET graph = '{broken', digest = 'x'")
        async with Engine(storage, workflows=[healthy]) as engine, engine.worker():
            assert await (await engine.start(healthy, 7)).result(60) == 7
