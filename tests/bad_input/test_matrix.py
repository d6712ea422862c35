"""Each case of the catalogue has a test, or stands among the exempt ones with the reason."""

from __future__ import annotations

import pytest

from tests.bad_input import matrix
from tests.bad_input.cases import CASES, EXEMPT


def test_every_case_has_its_tests_and_each_of_them_is_there() -> None:
    assert list(CASES) == list(range(1, 86))
    assert matrix.gaps() == []
    assert set(EXEMPT) < set(CASES)
    assert set(matrix.TESTS) <= set(CASES)


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        ([], "case 1 (edge to an unknown node) has no test"),
        (["unit/test_retry.py::test_nothing"], "case 1: there is no unit/test_retry.py::test_nothing"),
        (["unit/test_nowhere.py::test_a"], "case 1: there is no unit/test_nowhere.py::test_a"),
        (
            ["unit/test_codec.py::test_plain_json_comes_back_exactly#99-"],
            "case 1: there is no unit/test_codec.py::test_plain_json_comes_back_exactly#99-",
        ),
    ],
)
def test_a_cell_that_is_empty_is_found(tests: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matrix.TESTS, 1, tests)
    assert matrix.gaps() == [told]
