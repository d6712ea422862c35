"""Definitions: known by their digest, and never changed under an execution that lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.storage import NEVER, Definition, Status
from stepwell.testing._scene import Scene, expect_equal, following

if TYPE_CHECKING:
    from stepwell.storage import Storage


async def check_a_new_definition_is_stored(storage: Storage) -> None:
    """Make workflows known; what is new contradicts nothing, and is stored as it is."""
    scene = Scene(storage)
    first = Definition(scene.workflow, "1", "a", '{"nodes": []}')
    expect_equal(await storage.define([first]), (), "a new definition contradicts nothing")
    await scene.create()
    found = await storage.define([Definition(scene.workflow, "1", "b", "{}")])
    expect_equal(found, (first,), "a contradiction must be told with the definition that is stored, whole")


async def check_nothing_to_define_is_no_error(storage: Storage) -> None:
    """Return those stored ones that contradict: for no definition, none."""
    expect_equal(await storage.define([]), (), "nothing contradicts nothing")


async def check_the_same_digest_is_no_contradiction(storage: Storage) -> None:
    """The same digest is no contradiction, even while live executions use it, and the graph is brought up to date."""
    scene = Scene(storage)
    await storage.define([Definition(scene.workflow, "1", "a", '"old labels"')])
    await scene.create()
    renewed = Definition(scene.workflow, "1", "a", '"new labels"')
    expect_equal(await storage.define([renewed]), (), "the same digest must not contradict")
    found = await storage.define([Definition(scene.workflow, "1", "b", "{}")])
    expect_equal(found, (renewed,), "the graph must be brought up to date where the digest is the same")


async def check_an_unused_definition_is_replaced(storage: Storage) -> None:
    """A definition stored with another digest is replaced when no live execution uses it."""
    scene = Scene(storage)
    first, second = (Definition(scene.workflow, "1", digest, f'"{digest}"') for digest in "ab")
    await storage.define([first])
    expect_equal(await storage.define([second]), (), "a definition that nobody uses must be replaced")
    await scene.create()
    expect_equal(await storage.define([first]), (second,), "the new definition must be the stored one now")


async def check_a_used_definition_is_kept(storage: Storage) -> None:
    """A definition that a live execution uses is returned, and nothing of it changes."""
    scene = Scene(storage)
    first, second, third = (Definition(scene.workflow, "1", digest, f'"{digest}"') for digest in "abc")
    await storage.define([first])
    for status in (Status.QUEUED, Status.WAITING, Status.SUSPENDED, Status.PAUSED, Status.RUNNING):
        row = await scene.create(scene.row(status, status=status), due=NEVER)
        expect_equal(await storage.define([second]), (first,), f"one that a {status} execution uses must be returned")
        expect_equal(await storage.define([third]), (first,), "nothing of a definition in use may change")
        await scene.committed(following(row, status=Status.CANCELLED))
    expect_equal(await storage.define([second]), (), "when the last execution has ended it must be replaced")


async def check_ended_executions_use_no_definition(storage: Storage) -> None:
    """A definition is replaced when no *live* execution uses it: ended ones don't count."""
    scene = Scene(storage)
    await storage.define([Definition(scene.workflow, "1", "a", "{}")])
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED):
        await scene.create(scene.row(status, status=status), due=NEVER)
    found = await storage.define([Definition(scene.workflow, "1", "b", "{}")])
    expect_equal(found, (), "a definition that only ended executions use must be replaced")


async def check_name_and_version_make_a_definition(storage: Storage) -> None:
    """A definition contradicts one of the same name and version only; executions of others don't use it."""
    scene = Scene(storage)
    other = f"other-{scene.name}"
    await storage.define([Definition(scene.workflow, "1", "a", "{}"), Definition(scene.workflow, "3", "a", "{}")])
    await scene.create()
    new = [Definition(scene.workflow, "2", "b", "{}"), Definition(other, "1", "b", "{}")]
    expect_equal(await storage.define(new), (), "another name or version is another definition")
    replaced = [Definition(scene.workflow, "3", "b", "{}"), Definition(other, "1", "c", "{}")]
    expect_equal(await storage.define(replaced), (), "an execution uses the definition of its own version only")


async def check_one_contradiction_does_not_affect_the_others(storage: Storage) -> None:
    """Return those stored ones that contradict; the others of the same call are made known all the same."""
    scene = Scene(storage)
    used = Definition(scene.workflow, "1", "a", "{}")
    await storage.define([used])
    await scene.create()
    others = [Definition(f"{scene.workflow}-{number}", "1", "a", str(number)) for number in range(2)]
    found = await storage.define([others[0], Definition(scene.workflow, "1", "b", "{}"), others[1]])
    expect_equal(found, (used,), "only the contradiction must be returned")
    for number, other in enumerate(others):
        await scene.create(scene.row(str(number), workflow=other.workflow))
        found = await storage.define([Definition(other.workflow, "1", "b", "{}")])
        expect_equal(found, (other,), "the other definitions of the call must be stored")
