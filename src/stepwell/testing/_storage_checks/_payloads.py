"""Payloads: JSON text goes in and comes out, character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from stepwell.storage import NEVER, Definition, Entry, Kind, Query, Status
from stepwell.testing._scene import Scene, change, deposit, expect_equal, following

if TYPE_CHECKING:
    from stepwell.storage import Storage

TEXTS: Final = (
    '"\\u0000 in the middle \\u0000"',
    '{"nested":["\\u0000",{"\\u0000":"\\ud800"}]}',
    "123456789012345678901234567890",
    "9007199254740993",
    "1e23",
    "1.0",
    "-0",
    "0.10000000000000001",
    '{"":1}',
    '{"b":1,"a":2,"b":3}',
    ' { "spaced" : [ ] } ',
    '"naïve 🚀 \U0010ffff \u2028 \x7f"',
    '"quotes \' \\" \\\\ %s $1 :name ? {} --"',
    '""',
    "null",
    "true",
    "[" * 90 + "]" * 90,
)
"""what is lost where JSON is parsed on its way: escapes of NUL, lone surrogates, big numbers, order, repeated keys"""

MEGABYTE: Final = f'"{"é" * 500_000}{"x" * 48_000}"'


async def check_inputs_and_results_come_back_exactly(storage: Storage) -> None:
    """Payloads are JSON text, in which nothing is changed: input, output and error."""
    scene = Scene(storage)
    for number, text in enumerate((*TEXTS, MEGABYTE)):
        row = await scene.create(replace(scene.row(str(number)), input=text), due=NEVER)
        expect_equal(row.input, text, "an input must come back exactly")
        await scene.committed(following(replace(row, output=text, error=text), status=Status.SUCCEEDED))
        row = await scene.stored_row(row.id)
        expect_equal((row.output, row.error), (text, text), "output and error must come back exactly")
        found = (await storage.find(Query(id_prefix=row.id, limit=1))).rows[0]
        expect_equal((found.input, found.output, found.error), (text, text, text), "find must return them exactly")


async def check_null_is_not_none(storage: Storage) -> None:
    """Payloads are JSON text: `null` is a value, None is none."""
    scene = Scene(storage)
    row = await scene.create(replace(scene.row(), output="null"))
    expect_equal((row.input, row.output, row.error), ("null", "null", None), "'null' and None must stay apart")


async def check_entries_payloads_come_back_exactly(storage: Storage) -> None:
    """Payloads are JSON text, in which nothing is changed: those of entries, by load, journal and claim."""
    scene = Scene(storage)
    texts = [*TEXTS, MEGABYTE]
    await scene.committed(change(scene.row(), entries=[Entry(Kind.STEP_SUCCEEDED, payload=text) for text in texts]))
    stored = await scene.stored(scene.id("one"))
    expect_equal([entry.payload for entry in stored.journal], texts, "load must return payloads exactly")
    entries = await storage.journal(stored.row.id)
    expect_equal([entry.payload for entry in entries], texts, "journal must return payloads exactly")
    claimed = (await scene.claims()).claimed[0]
    expect_equal([entry.payload for entry in claimed.journal[:-1]], texts, "claim must return payloads exactly")


async def check_signals_payloads_come_back_exactly(storage: Storage) -> None:
    """Payloads are JSON text, in which nothing is changed: those of signals."""
    scene = Scene(storage)
    row = await scene.create()
    for count, text in enumerate(TEXTS):
        await scene.committed(deposit(row.id, signal=f"signal {count} 🚀", expects=count, payload=text))
    found = [signal.payload for signal in (await scene.stored(row.id)).signals]
    expect_equal(found, list(TEXTS), "a signal's payload must come back exactly")


async def check_graphs_come_back_exactly(storage: Storage) -> None:
    """A definition's graph is JSON text, in which nothing is changed."""
    scene = Scene(storage)
    await scene.create()
    for text in TEXTS:
        definition = Definition(scene.workflow, "1", "a", text)
        await storage.define([definition])
        found = await storage.define([Definition(scene.workflow, "1", "b", "{}")])
        expect_equal(found, (definition,), "a graph must come back exactly")


async def check_tags_come_back_exactly(storage: Storage) -> None:
    """Tags come back as they were sent, in their order."""
    scene = Scene(storage)
    for number, tags in enumerate(((), ("b", "a", "b"), ('"', "'", "%", "_", "\\", "🚀", "\U0010ffff", "", ","))):
        row = await scene.create(replace(scene.row(str(number)), tags=tags))
        expect_equal(row.tags, tags, "tags must come back exactly, in their order")
        expect_equal(type(row.tags), tuple, "tags must be a tuple")


async def check_metadata_comes_back_by_type(storage: Storage) -> None:
    """Metadata come back as the values that were sent: `true`, `1` and `"1"` are three."""
    scene = Scene(storage)
    metadata: dict[str, Any] = {
        "": "",
        "true": True,
        "false": False,
        "one": 1,
        "text": "1",
        "null": None,
        "half": 0.5,
        "big": 9_007_199_254_740_993,
        "negative": -1,
        "odd": "quotes \" ' % _ \\ 🚀 \U0010ffff",
        "$.path": "a.b",
    }
    row = await scene.create(replace(scene.row(), metadata=metadata))
    for found in (row, (await scene.claims()).claimed[0].row):
        texts = {key: msgspec.json.encode(value) for key, value in found.metadata.items()}
        expected = {key: msgspec.json.encode(value) for key, value in metadata.items()}
        expect_equal(texts, expected, "metadata must come back as the values that were sent")


async def check_names_come_back_exactly(storage: Storage) -> None:
    """Ids, names and references come back exactly, and what differs in one character is something else."""
    scene = Scene(storage)
    names = ("a", "A", "á", "a\u0301", "a ", "\uff41", "🚀", "%", "_", "'", '"', "\\", "\U0010ffff", "x" * 200)
    for name in names:
        sent = change(
            scene.row(name, step=name), entries=[Entry(Kind.CREATED, name, worker=name, route=name, ref=name)]
        )
        await scene.committed(sent)
    for name in names:
        stored = await scene.stored(scene.id(name))
        entry = stored.journal[0]
        found = (stored.row.id, stored.row.step, entry.step, entry.worker, entry.route, entry.ref)
        expect_equal(found, (scene.id(name), *(name,) * 5), "ids and names must come back exactly")
