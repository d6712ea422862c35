"""Tells which test proves which promise: `python docs/generate_promises.py` prints the matrix.

With `--write` it also brings the tables in `promises.md` up to date. A test marked `@pytest.mark.promise("P1", "I2")`
proves what it names; another test sees to it that each promise of the page has one, and that the page is current.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["exempt", "matrix", "page", "problems", "promised", "proofs"]

PAGE: Final = Path(__file__).with_name("promises.md")
TESTS: Final = Path(__file__).parents[1] / "tests"
ALL: Final = (*(f"P{number}" for number in range(1, 13)), *(f"I{number}" for number in range(1, 43)))
_PROOF: Final = re.compile(r"<!-- proof (?P<ids>[^>]*?) -->\n.*?<!-- /proof -->", re.DOTALL)
_EXEMPT: Final = re.compile(r"<!-- exempt (?P<ids>[^>]*?) -->")
_MARK: Final = "promise"


def promised() -> list[str]:
    """Return the promises that the page makes, in its order."""
    return [id for found in _PROOF.finditer(PAGE.read_text(encoding="utf-8")) for id in found["ids"].split()]


def exempt() -> list[str]:
    """Return what the page says isn't promised yet."""
    return [id for found in _EXEMPT.finditer(PAGE.read_text(encoding="utf-8")) for id in found["ids"].split()]


def proofs() -> dict[str, list[str]]:
    """Return for each promise the tests that are marked with it: `engine/test_x.py` and the test's name."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        where = path.relative_to(TESTS).as_posix()
        for name, ids in _marked(ast.parse(path.read_text(encoding="utf-8"))):
            for id in ids:
                found.setdefault(id, []).append(f"{where}::{name}")
    return found


def _marked(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            ids = [id for decorator in node.decorator_list for id in _ids(decorator)]
            if ids:
                yield node.name, ids


def _ids(decorator: ast.expr) -> list[str]:
    match decorator:
        case ast.Call(func=ast.Attribute(attr=name), args=arguments) if name == _MARK:
            return [str(argument.value) for argument in arguments if isinstance(argument, ast.Constant)]
        case _:
            return []


def problems() -> list[str]:
    """Return what is wrong: a promise without a test, a mark without a promise, a point the page doesn't speak of."""
    found, made, left_out = proofs(), promised(), exempt()
    wrong = [f"{id} has no test: mark one with @pytest.mark.promise({id!r})" for id in made if not found.get(id)]
    wrong += [f"{id} is no promise of the page, but of {tests[0]}" for id, tests in found.items() if id not in made]
    wrong += [f"{id} is neither promised nor exempt" for id in ALL if id not in {*made, *left_out}]
    return wrong + [f"{id} is told twice" for id in ALL if (made + left_out).count(id) > 1]


def matrix() -> str:
    """Return promise by promise how many tests prove it, and which."""
    found = proofs()
    lines: list[str] = []
    for id in promised():
        tests = found.get(id, [])
        lines.append(f"{id:<4}{len(tests):>3}  {'' if tests else 'EMPTY'}".rstrip())
        lines += [f"         {test}" for test in tests]
    lines += [f"{id:<4}  -  exempt" for id in exempt()]
    return "\n".join(lines)


def page() -> str:
    """Return the page with its tables as they should be."""
    found = proofs()

    def table(match: re.Match[str]) -> str:
        rows = ["| | proved by |", "|---|---|"]
        for id in match["ids"].split():
            tests = "<br>".join(f"`{test}`" for test in found.get(id, []))
            rows.append(f"| {id} | {tests} |")
        return "\n".join([f"<!-- proof {match['ids']} -->", *rows, "<!-- /proof -->"])

    return _PROOF.sub(table, PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write("\n".join([matrix(), *problems(), ""]))
    sys.exit(1 if problems() else 0)
