"""Each promise of the documentation has a test that proves it, and the page says which."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, Final

import pytest

from stepwell._invariants import RULES

DOCS: Final = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate_promises.py"))


def test_each_promise_has_a_test(script: dict[str, Any]) -> None:
    assert script["problems"]() == []


def test_the_tables_on_the_page_are_current(script: dict[str, Any]) -> None:
    if (DOCS / "promises.md").read_text(encoding="utf-8") != script["page"]():
        pytest.fail("docs/promises.md is stale: run `python docs/generate_promises.py --write`")


def test_the_matrix_shows_each_promise_with_its_tests(script: dict[str, Any]) -> None:
    shown = script["matrix"]()
    assert "EMPTY" not in shown
    assert all(test in shown for tests in script["proofs"]().values() for test in tests)


def test_a_promise_without_a_test_is_a_problem(script: dict[str, Any], tmp_path: Path) -> None:
    named = script["problems"].__globals__
    before = dict(named)
    (tmp_path / "test_one.py").write_text('@pytest.mark.promise("P1", "P99")\nasync def test_it(): ...\n')
    named["TESTS"] = tmp_path
    try:
        wrong = script["problems"]()
        assert "EMPTY" in script["matrix"]()
    finally:
        named.update(before)
    assert "P2 has no test: mark one with @pytest.mark.promise('P2')" in wrong
    assert "P99 is no promise of the page, but of test_one.py::test_it" in wrong
    assert not [one for one in wrong if one.startswith("P1 ")]


def test_what_the_checker_checks_is_promised(script: dict[str, Any]) -> None:
    assert {f"P{number}" for number in RULES.values()} <= set(script["promised"]())
