"""What is in the digest of a workflow, by which a changed one is known, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest

from stepwell._definition import Activity, Step, Workflow, activity, subworkflow
from tests.unit.refund import (
    REFUND_EDGES,
    CardDeclinedError,
    Colour,
    Order,
    Request,
    approval,
    denied,
    load,
    paid,
    pay,
    refund,
    route,
)


def test_a_digest_is_the_same_for_the_same_definition() -> None:
    digest = refund().digest
    assert len(digest) == 64
    assert refund().digest == digest


def test_a_digest_is_the_same_in_every_process_and_release() -> None:
    """A change of this value makes every stored workflow look changed: it needs a reason and a note."""
    assert refund().digest == "3957ddfeeaf7eea23d0be87951de3c8e411993d7a17d11da664d4805c9aced02"


@pytest.mark.parametrize(
    "options",
    [
        {"label": "Other"},
        {"description": "other"},
        {"version": "2"},
        {"edges": REFUND_EDGES[::-1]},
    ],
)
def test_labels_and_the_order_of_edges_are_not_in_the_digest(options: dict[str, Any]) -> None:
    assert refund(**options).digest == refund().digest


def with_pay(step: Activity[Any, Any, Any], catch: dict[type[BaseException], Step[Any, Any]] | None = None) -> str:
    edges = [
        load.then(route),
        route.to({"auto": step, "review": approval}),
        approval.to({"yes": step, "no": denied}, timeout=denied),
        step.then(paid, catch={CardDeclinedError: denied} if catch is None else catch),
    ]
    return refund(edges=edges).digest


def test_retries_timeouts_and_bounds_are_not_in_the_digest() -> None:
    other = activity(name="pay", label="Pay", description="now", retry=9, timeout=1, max_visits=4)
    assert with_pay(other(pay.function)) == refund().digest


def test_a_type_that_only_moved_to_another_module_is_not_in_the_digest() -> None:
    moved = type("Order", (), {"__module__": "elsewhere", "__qualname__": "make.<locals>.Order"})
    other = activity(name="load", returns=moved)(load.function)
    edges = [other.then(route), *REFUND_EDGES[1:]]
    assert refund(start=other, edges=edges).digest == refund().digest


def test_names_kinds_edges_catches_and_types_are_in_the_digest() -> None:
    digests = {
        refund().digest,
        with_pay(activity(name="pay2")(pay.function)),
        with_pay(activity(name="pay", returns=float)(pay.function)),
        with_pay(activity(name="pay", returns=int | None)(pay.function)),
        with_pay(activity(name="pay", returns=list[int])(pay.function)),
        with_pay(activity(name="pay", returns=list[str])(pay.function)),
        with_pay(activity(name="pay", returns=Literal["a"])(pay.function)),
        with_pay(activity(name="pay")(pay.function), catch={}),
        with_pay(activity(name="pay")(pay.function), catch={CardDeclinedError: denied, Exception: denied}),
        with_pay(activity(name="pay")(pay.function), catch={CardDeclinedError: paid}),
        with_pay(activity(name="pay")(pay.function), catch={KeyError: denied, ValueError: denied}),
        with_pay(activity(name="pay")(pay.function), catch={ValueError: denied, KeyError: denied}),
        Workflow[Request, int]("other", version="1", start=pay, edges=[pay.then(paid)]).digest,
        Workflow[Order, int]("other", version="1", start=pay, edges=[pay.then(paid)]).digest,
        Workflow[Request, Any]("other", version="1", start=pay, edges=[pay.then(paid)]).digest,
    }
    assert len(digests) == 15


def test_the_same_type_written_otherwise_is_the_same_in_the_digest() -> None:
    def digest_of(returns: Any) -> str:
        return with_pay(activity(name="pay", returns=returns)(pay.function))

    assert digest_of(int | None) == digest_of(None | int)
    assert digest_of(Literal["a", "b"]) == digest_of(Literal["b", "a"])
    assert digest_of(Annotated[int, "note"]) == digest_of(int)
    assert digest_of("Order") == digest_of(Order)
    assert digest_of(Literal[Colour.RED]) != digest_of(Literal["red"])
    assert digest_of(tuple[int, ...]) != digest_of(tuple[int])
    assert digest_of(Callable[[int], str]) == digest_of(Callable[[int], str])


def test_the_version_of_a_child_is_in_the_digest() -> None:
    def digest_with(child: Workflow[Any, Any]) -> str:
        sub = subworkflow(child, name="sub")(lambda ctx: Request(1))
        edges = [sub.to(succeeded=paid, failed=denied, cancelled=denied)]
        return Workflow[Any, int]("w", version="1", start=sub, edges=edges).digest

    assert digest_with(refund()) == digest_with(refund(label="Other"))
    assert digest_with(refund()) != digest_with(refund(version="2"))
