"""Find: what matches, in which order, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
from msgspec.structs import replace

from stepwell.storage import NEVER, Query, Status
from stepwell.testing._scene import Scene, deposit, expect, expect_equal, following, unique

if TYPE_CHECKING:
    from stepwell.storage import Row, Storage

LAST = "\U0010ffff"
"""the highest code point there is: a prefix that ends with it has no successor of the same length"""

ODD = ("100%", "a_b", "a\\b", 'say "hi"', "it's", "[x]", "a*b", "naïve", "🚀", "{a,b}", "a, b", "NULL", "", " ", LAST)


async def check_find_returns_rows_as_they_are(storage: Storage) -> None:
    """Find returns rows: those that load returns."""
    scene = Scene(storage)
    row = await scene.create(replace(scene.row(), tags=("a",), metadata={"k": 1}, input="[1]", parent="p"))
    await scene.committed(deposit(row.id))
    row = await scene.claim_one()
    page = await storage.find(Query(workflow=scene.workflow))
    expect_equal(page.rows, (await scene.stored_row(row.id),), "find must return the row as it is stored now")
    expect(not page.more, "`more` must not tell of more where one row is all there is")


async def check_find_returns_the_newest_first(storage: Storage) -> None:
    """Find returns rows newest first, ties by id descending."""
    scene = Scene(storage)
    for name in ("c", "a", "b"):
        await scene.create(scene.row(name))
    # In one commit, so that a clock that is coarse or stands still gives ties.
    await scene.create_many(scene.row(name) for name in ("Z", "é", "f", "10", "9", LAST, "\ufffd"))
    page = await storage.find(Query(workflow=scene.workflow))
    expected = sorted(page.rows, key=_age, reverse=True)
    expect_equal(len(page.rows), 10, "all ten must be found")
    expect_equal(
        [(row.created_at, row.id) for row in page.rows],
        [(row.created_at, row.id) for row in expected],
        "rows must come by `created_at`, then by id in the order of code points, both descending",
    )


async def check_find_by_ids(storage: Storage) -> None:
    """Rows match any of the ids that are named, exactly; none named doesn't narrow."""
    scene = Scene(storage)
    for name in ("a", "b", "c", "aa", "'"):
        await scene.create(scene.row(name))
    for named in (("a",), ("c", "a"), ("b", "b", "unknown", "'"), ("unknown",), ("A",)):
        found = await scene.found(Query(ids=tuple(scene.id(name) for name in named)))
        expected = sorted({name for name in named if name in {"a", "b", "c", "'"}})
        expect_equal(sorted(found), expected, f"exactly the rows whose id is one of {named}")
    found = await scene.found(Query(ids=(scene.id("a"),), workflow="another"))
    expect_equal(found, [], "an id must not stand in for what else a query says")
    many = tuple(scene.id(str(number)) for number in range(999))
    expect_equal(await scene.found(Query(ids=(*many, scene.id("b")))), ["b"], "a thousand ids may be named")


async def check_find_by_workflow_and_version(storage: Storage) -> None:
    """Rows match a workflow and a version exactly, each by itself or both."""
    scene = Scene(storage)
    other, version = f"{scene.workflow}x", unique()
    await scene.create(scene.row("a", version=version))
    await scene.create(scene.row("b", version=f"{version}0"))
    await scene.create(scene.row("c", workflow=other, version=version))
    expect_equal(await scene.found(Query(workflow=scene.workflow)), ["b", "a"], "rows of the workflow")
    expect_equal(await scene.found(Query(version=version)), ["c", "a"], "rows of the version, of whatever workflow")
    found = await scene.found(Query(workflow=scene.workflow, version=version))
    expect_equal(found, ["a"], "rows of both")
    expect_equal(
        await scene.found(Query(workflow=scene.workflow[:-1])), [], "part of a workflow's name matches nothing"
    )


async def check_find_by_status(storage: Storage) -> None:
    """Rows match any of the statuses that are named, by what they are now."""
    scene = Scene(storage)
    for status in Status:
        await scene.create(scene.row(status, status=status), due=NEVER)
    for statuses in ((Status.FAILED,), (Status.QUEUED, Status.PAUSED), tuple(Status), ()):
        names = await scene.found(Query(workflow=scene.workflow, status=statuses))
        expect_equal(set(names), set(statuses or Status), f"rows whose status is one of {statuses} (none named: any)")
    row = await scene.stored_row(scene.id(Status.QUEUED))
    await scene.committed(following(row, status=Status.SUCCEEDED))
    found = await scene.found(Query(workflow=scene.workflow, status=(Status.QUEUED,)))
    expect_equal(found, [], "a row must be found by the status it has now")


async def check_find_by_tag(storage: Storage) -> None:
    """Rows match a tag that they have, whole and exactly, whatever characters it is made of."""
    scene = Scene(storage)
    for number, tag in enumerate(ODD):
        await scene.create(replace(scene.row(str(number)), tags=("first", tag)))
    await scene.create(replace(scene.row("none")))
    for number, tag in enumerate(ODD):
        found = await scene.found(Query(workflow=scene.workflow, tag=tag))
        expect_equal(found, [str(number)], f"exactly one row has the tag {tag!r}")
    for tag in ("100", "%", "a%", "a_", "axb", "FIRST", "first,", "NAÏVE", "a"):
        found = await scene.found(Query(workflow=scene.workflow, tag=tag))
        expect_equal(found, [], f"no row has the tag {tag!r}")


async def check_find_by_metadata(storage: Storage) -> None:
    """Rows match metadata that they have under each key, and by type: `true`, `1` and `"1"` are three values."""
    scene = Scene(storage)
    values: dict[str, Any] = {"true": True, "one": 1, "text": "1", "null": None, "zero": 0, "false": False, "empty": ""}
    for name, value in values.items():
        await scene.create(replace(scene.row(name), metadata={"key": value, "other": name}))
    await scene.create(replace(scene.row("missing"), metadata={"other": 1}))
    for name, value in values.items():
        found = await scene.found(Query(workflow=scene.workflow, metadata={"key": value}))
        expect_equal(found, [name], f"exactly one row has {value!r} under 'key'")
    found = await scene.found(Query(workflow=scene.workflow, metadata={"key": 1, "other": "one"}))
    expect_equal(found, ["one"], "a row that has both values must be found")
    found = await scene.found(Query(workflow=scene.workflow, metadata={"key": 1, "other": "text"}))
    expect_equal(found, [], "a row that has only one of two values must not be found")


async def check_find_by_odd_metadata(storage: Storage) -> None:
    """Rows match metadata whole and exactly, whatever characters keys and values are made of."""
    scene = Scene(storage)
    keys = (*ODD, "$", "$.a", "a.b", "#-1", "0")
    for number, key in enumerate(keys):
        await scene.create(replace(scene.row(str(number)), metadata={key: key}))
    for number, key in enumerate(keys):
        found = await scene.found(Query(workflow=scene.workflow, metadata={key: key}))
        expect_equal(found, [str(number)], f"exactly one row has {key!r} under {key!r}")
    for key in ("a", "b", "%", "null", "1"):
        found = await scene.found(Query(workflow=scene.workflow, metadata={key: key}))
        expect_equal(found, [], f"no row has the key {key!r}")


async def check_find_by_parent(storage: Storage) -> None:
    """Rows match a parent exactly."""
    scene = Scene(storage)
    parent = scene.id("parent")
    await scene.create(replace(scene.row("child"), parent=parent))
    await scene.create(replace(scene.row("grandchild"), parent=f"{parent}/child"))
    await scene.create(scene.row("orphan"))
    expect_equal(await scene.found(Query(parent=parent)), ["child"], "rows whose parent it is")


async def check_find_by_id_prefix(storage: Storage) -> None:
    """Rows match an id prefix exactly: case counts, and no character stands for another."""
    scene = Scene(storage)
    names = [
        "order%1",
        "order_1",
        "orderx1",
        "Order_1",
        "order\\1",
        "order[1",
        "order*1",
        "ordér",
        f"top{LAST}",
        f"top{LAST}x",
    ]
    await scene.create_many(scene.row(name) for name in (*names, "top\U0010fffe", "toq"))
    for name in names:
        found = set(await scene.found(Query(id_prefix=scene.id(name))))
        expected = {other for other in names if other.startswith(name)}
        expect_equal(found, expected, f"exactly the ids that begin with {name!r}")
    whole = len(await scene.found(Query(id_prefix=scene.id(""))))
    expect_equal(whole, len(names) + 2, "each id begins with the scene's name")
    for name in ("order%2", "order_2", "rder", "ORDER", f"{LAST}", "order?1"):
        expect_equal(await scene.found(Query(id_prefix=scene.id(name))), [], f"no id begins with {name!r}")


async def check_find_by_the_highest_prefix(storage: Storage) -> None:
    """Rows match an id prefix that has no successor: made of nothing but the highest code point."""
    scene = Scene(storage)
    row = await scene.create(replace(scene.row(), id=f"{LAST}{LAST}{scene.name}"))
    found = await storage.find(Query(id_prefix=LAST, workflow=scene.workflow))
    expect_equal([found_row.id for found_row in found.rows], [row.id], "a prefix of the highest code point must match")
    await scene.create(scene.row("other"))
    found = await storage.find(Query(id_prefix=LAST, workflow=scene.workflow))
    expect_equal([found_row.id for found_row in found.rows], [row.id], "a prefix of the highest code point must narrow")


async def check_find_by_time(storage: Storage) -> None:
    """Rows match times that are exclusive microseconds."""
    scene = Scene(storage)
    at = (await scene.create()).created_at
    cases: tuple[tuple[int | None, int | None, list[str]], ...] = (
        (at - 1, at + 1, ["one"]),
        (at, at + 1, []),
        (at - 1, at, []),
        (at - 1, None, ["one"]),
        (at, None, []),
        (None, at + 1, ["one"]),
        (None, at, []),
    )
    for after, before, expected in cases:
        found = await scene.found(Query(workflow=scene.workflow, created_after=after, created_before=before))
        expect_equal(found, expected, f"created_after={after}, created_before={before} of a row created at {at}")


async def check_find_narrows_by_everything_at_once(storage: Storage) -> None:
    """Rows match everything that a query says, and whatever is None or empty doesn't narrow."""
    scene = Scene(storage)
    rows = [replace(scene.row(name), tags=("t",), metadata={"k": 1}, parent=scene.id("p")) for name in "abcd"]
    rows[1] = replace(rows[1], tags=())
    rows[2] = replace(rows[2], metadata={})
    rows[3] = replace(rows[3], parent=None)
    for row in rows:
        await scene.create(row)
    whole = Query(
        workflow=scene.workflow,
        version="1",
        status=(Status.QUEUED,),
        tag="t",
        metadata={"k": 1},
        parent=scene.id("p"),
        id_prefix=scene.name,
        created_after=0,
        created_before=9_007_199_254_740_993,
    )
    expect_equal(await scene.found(whole), ["a"], "only the row that matches everything")
    found = await scene.found(replace(whole, tag=None, metadata={}, parent=None))
    expect_equal(found, ["d", "c", "b", "a"], "what isn't asked for must not narrow")


async def check_a_page_has_no_more_than_its_limit(storage: Storage) -> None:
    """Never more than `query.limit`; `more` tells whether there are more."""
    scene = Scene(storage)
    await scene.create_many(scene.row(str(number)) for number in range(4))
    for limit, count, more in ((1, 1, True), (3, 3, True), (4, 4, False), (5, 4, False)):
        page = await storage.find(Query(workflow=scene.workflow, limit=limit))
        expect_equal((len(page.rows), page.more), (count, more), f"rows and `more` of a page of {limit} among four")
    page = await storage.find(Query(workflow=unique()))
    expect_equal((page.rows, page.more), ((), False), "where nothing matches the page is empty, and there is no more")


async def check_a_page_is_never_unbounded(storage: Storage) -> None:
    """A page has at most 1,000 rows: a limit below 1 or above 1,000 is a ValueError."""
    scene = Scene(storage)
    await scene.create_many(scene.row(str(number)) for number in range(1_001))
    page = await storage.find(Query(workflow=scene.workflow, limit=1_000))
    expect_equal((len(page.rows), page.more), (1_000, True), "a page of 1,000 rows among 1,001")
    for limit in (0, 1_001):
        refused = False
        try:
            await storage.find(Query(workflow=scene.workflow, limit=limit))
        except ValueError:
            refused = True
        expect(refused, f"a limit of {limit} must be refused with a ValueError")
    page = await storage.find(Query(workflow=scene.workflow))
    expect_equal((len(page.rows), page.more), (100, True), "a page of 100 rows where no limit is given")


async def check_pages_show_each_row_once(storage: Storage) -> None:
    """`after` is the cursor of an earlier page: the pages together show each row once, in order, ties or not."""
    scene = Scene(storage)
    await scene.create_many(scene.row(f"{number:02}") for number in range(10))
    for number in range(10, 13):
        await scene.create(scene.row(str(number)))
    whole = await storage.find(Query(workflow=scene.workflow))
    for limit in (1, 4, 13):
        rows = await _pages(scene, limit)
        expect_equal(
            [row.id for row in rows], [row.id for row in whole.rows], f"the pages of {limit} rows, put together"
        )


async def check_pages_stand_still(storage: Storage) -> None:
    """Pages are by key: what is created, or stops to match, between two pages neither repeats nor hides a row."""
    scene = Scene(storage)
    await scene.create_many(scene.row(f"{number:02}") for number in range(9))
    query = Query(workflow=scene.workflow, status=(Status.QUEUED,), limit=3)
    first = await storage.find(query)
    unseen = {f"{number:02}" for number in range(9)} - {row.id.removeprefix(f"{scene.name}:") for row in first.rows}
    await _let_time_pass(scene, first.rows[0].created_at)
    await scene.create_many(scene.row(f"new-{number}") for number in range(2))
    await scene.committed(following(first.rows[0], status=Status.SUCCEEDED))
    last = first.rows[-1]
    second = await scene.found(replace(query, after=(last.created_at, last.id), limit=100))
    expect_equal(set(second), unseen, "the second page must show what the first didn't, and nothing that is newer")


async def _let_time_pass(scene: Scene, since: int) -> None:
    """Wait until what is created next is newer."""
    for number in range(1_000):
        row = await scene.create(scene.row(f"tick-{number}", workflow=unique()))
        if row.created_at > since:
            return
        await anyio.sleep(0.001)


async def _pages(scene: Scene, limit: int) -> list[Row]:
    rows: list[Row] = []
    cursor: tuple[int, str] | None = None
    more = True
    while more:
        page = await scene.storage.find(Query(workflow=scene.workflow, limit=limit, after=cursor))
        rows += page.rows
        more = page.more
        expect(bool(page.rows) or not more, "a page that says that there are more must have rows")
        cursor = _age(rows[-1]) if rows else None
        expect(len(rows) <= 100, "pages must come to an end")
    return rows


def _age(row: Row) -> tuple[int, str]:
    return row.created_at, row.id
