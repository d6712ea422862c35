"""Catalogue 4.2, end to end: what a step returns, what an execution starts with, what a signal brings."""

from __future__ import annotations

import enum
import math
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import pytest

from stepwell import Engine, PayloadError, StepwellError, Workflow, activity, succeed, wait
from stepwell.storage import Storage
from tests.bad_input.endings import async_activity, endings_of
from tests.engine.small import done, healthy

pytestmark = pytest.mark.anyio


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(f"asked for {name}")

    def __eq__(self, other: object) -> bool:
        raise SystemExit("compared")

    __hash__ = object.__hash__

    def __len__(self) -> int:
        raise SystemExit("measured")

    def __iter__(self) -> Any:
        raise SystemExit("iterated")

    def __repr__(self) -> str:
        raise SystemExit("shown")


class Liar:
    def _asked(self) -> Any:
        raise SystemExit("asked for its class")

    __class__: Any = property(_asked)


class OddDict(dict[str, int]):
    def items(self) -> Any:
        raise SystemExit("items")


class OddText(str):
    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        raise SystemExit("encode")


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _cycle() -> Any:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append(value)
    return value


def _generator() -> Any:
    yield 1


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "21-nan": (lambda: {"metrics": [0, {"value": math.nan}]}, r"\$\.metrics\[1\]\.value: NaN is not JSON; use null"),
    "21-inf": (lambda: [-math.inf], r"\$\[0\]: -inf is not JSON"),
    "23-surrogate": (lambda: "\ud800", r"\$: the text has a lone surrogate"),
    "28-digits": (lambda: {"n": 10**5_000}, r"\$\.n: an int of 5001 digits; the limit is 4300"),
    "29-two-keys": (lambda: {1: "a", "1": "b"}, r"\$: key 1 \(int\) is not a string"),
    "30-none-key": (lambda: {"a": {None: 1}}, r"\$\.a: key None \(NoneType\)"),
    "30-enum-key": (lambda: {Colour.RED: 1}, r"\(Colour\) is not a string"),
    "32-set": (lambda: [{1}], r"\$\[0\]: \{1\} \(set\)"),
    "32-generator": (_generator, "did you forget await"),
    "33-named-tuple": (lambda: Point(1), "annotate its exact type"),
    "33-str-subclass": (lambda: OddText("a"), "would come back as str"),
    "34-complex": (lambda: 1j, "complex can't be stored"),
    "35-naive": (lambda: [datetime(2024, 1, 1)], r"\$\[0\]: 2024-01-01T00:00:00 is a naive datetime"),  # noqa: DTZ001 -- the mistake under test
    "37-memoryview": (lambda: memoryview(b"x"), "memoryview can't be stored"),
    "38-path": (lambda: {"file": Path("a")}, r"\$\.file.*Path can't be stored"),
    "38-pattern": (lambda: re.compile("a"), r"re\.Pattern can't be stored"),
    "38-exception": (lambda: [ValueError()], "ValueError can't be stored"),
    "38-module": (lambda: re, "module can't be stored"),
    "38-socket-class": (lambda: socket.socket, "can't be stored"),
    "39-cycle": (_cycle, r"\$\.a\[1\]: the dict contains itself: it is also what is at \$"),
    "40-101": (lambda: _nested(101), "nested too deep: the limit is 100"),
    "40-100000": (lambda: _nested(100_000), "nested too deep: the limit is 100"),
    "41-300-MB": (lambda: "x" * 300_000_000, "the limit is 1,048,576; store it elsewhere"),
    "41-many": (lambda: {"rows": [0] * 3_000_000, "b": 1}, r"the largest part is \$\.rows"),
    "44-hostile": (lambda: {"a": Hostile()}, r"\$\.a.*Hostile can't be stored"),
    "44-liar": (lambda: [Liar()], r"\$\[0\].*Liar can't be stored"),
    "45-odd-dict": (OddDict, "OddDict would come back as dict"),
}

KEPT: dict[str, tuple[Any, Callable[[], Any]]] = {
    "22-nul": (Any, lambda: {"a\0b": "\0"}),
    "24-1e23": (Any, lambda: [1e23, 1.7976931348623157e308]),
    "26-minus-zero": (Any, lambda: -0.0),
    "27-large": (Any, lambda: [2**53 + 1, 2**63, 2**64, 10**400]),
    "42-none": (Any, lambda: None),
    "46-odd-keys": (Any, lambda: {"": 1, "__proto__": 2, "constructor": 3, "$ref": 4, "k" * 10_000: 5}),
    "32-tuple": (tuple[int, str], lambda: (1, "a")),
    "33-named-tuple": (Point, lambda: Point(1)),
    "33-enum": (Colour, lambda: Colour.RED),
    "34-decimal": (Decimal, lambda: Decimal("1.10")),
    "36-last-moment": (datetime, lambda: datetime.max.replace(tzinfo=UTC)),
    "36-first-moment": (datetime, lambda: datetime.min.replace(tzinfo=UTC)),
    "37-no-bytes": (bytes, lambda: b""),
    "38-uuid": (UUID, lambda: UUID(int=7)),
}


async def test_a_result_that_can_not_be_stored_fails_its_attempt_alone(store: Storage) -> None:
    flows = {name: async_activity(f"r{name}", make) for name, (make, _) in REFUSED.items()}
    for name, ending in (await endings_of(store, flows)).items():
        assert ending.failure is not None, name
        assert ending.failure.code == "payload", name
        assert f"the result of step 'work' of workflow 'r{name}': at $" in ending.failure.message
        assert re.search(REFUSED[name][1], ending.failure.message), ending.failure.message
        assert len(ending.failure.message) < 1_500


async def test_a_result_that_is_odd_but_sound_reaches_the_next_step_as_it_was(store: Storage) -> None:
    seen: dict[str, Any] = {}

    def flow(name: str, annotation: Any, make: Callable[[], Any]) -> Workflow[int, int]:
        @activity(returns=annotation)
        async def give(ctx: Any) -> Any:
            return make()

        @activity
        async def take(ctx: Any) -> None:
            seen[name] = ctx.output("give")

        return Workflow[int, int](f"k{name}", version="1", start=give, edges=[give.then(take), take.then(done)])

    endings = await endings_of(store, {name: flow(name, *case) for name, case in KEPT.items()})
    for name, (_, make) in KEPT.items():
        assert endings[name].failure is None, endings[name].failure
        assert (type(seen[name]), repr(seen[name])) == (type(make()), repr(make())), name


async def test_a_result_that_changes_after_its_return_is_stored_as_it_was(store: Storage) -> None:
    shared: list[int] = [1]

    @activity
    async def give(ctx: Any) -> list[int]:
        return shared

    @activity
    async def change(ctx: Any) -> list[int]:
        shared.append(2)
        given: list[int] = ctx.output("give")
        return given

    flow = Workflow[int, int]("shared", version="1", start=give, edges=[give.then(change), change.then(done)])
    steps = (await endings_of(store, {"43": flow}))["43"].execution.steps
    assert (steps["give"].output, steps["change"].output, shared) == ([1], [1], [1, 2])


@dataclass
class Line:
    article: str
    amount: int


@wait
def gate(ctx: Any, signal: Any) -> Literal["go"]:
    return "go"


@succeed
def heard(ctx: Any) -> Any:
    return ctx.output("gate")


anything = Workflow[Any, Any]("anything", version="1", start=gate, edges=[gate.to({"go": heard})])


@activity
async def count(ctx: Any) -> None:
    return None


@succeed
def counted(ctx: Any) -> int:
    return len(ctx.input)


ordering = Workflow[list[Line], int]("ordering", version="1", start=count, edges=[count.then(counted)])


async def test_a_bad_input_or_signal_is_told_with_its_path_and_leaves_nothing(store: Storage) -> None:
    async with Engine(store, workflows=[anything]) as engine:
        execution = await engine.start(anything, None, id="waiting")
        await engine.run_until_idle()
        for name, (make, told) in REFUSED.items():
            if name.startswith("41"):  # the codec's own tests have the large ones; each takes its time
                continue
            with pytest.raises(PayloadError, match=f"input of workflow 'anything': at .*{told}"):
                await engine.start(anything, make(), id=f"refused-{name}")
            with pytest.raises(PayloadError, match=f"signal to step 'gate' of workflow 'anything': at .*{told}"):
                await execution.signal("gate", make())
        assert [found.id for found in (await engine.find()).executions] == ["waiting"]
        await execution.signal("gate", "\0")
        await engine.run_until_idle()
        assert await execution.result(60) == "\0"


async def test_an_input_of_the_wrong_shape_is_told_with_the_place(store: Storage) -> None:
    async with Engine(store, workflows=[ordering, healthy]) as engine:
        loose: Any = engine
        for value, told in (
            ([{"article": "a"}], r"\$\[0\].*missing required field `amount`"),
            ([{"article": "a", "amount": "two"}], r"\$\[0\]\.amount.*Expected `int`, got `str`"),
            ({"lines": 1}, r"Expected `array`, got `object`"),
            ([Line("a", 1), 5], r"\$\[1\]"),
            (None, r"at \$"),
        ):
            with pytest.raises(StepwellError, match=f"the input of workflow 'ordering'.*{told}"):
                await loose.start(ordering, value)
        assert (await engine.find()).executions == ()
        await engine.start(healthy, 1)
        await engine.run_until_idle()
