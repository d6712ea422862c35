"""Mutants: deliberate defects, each a piece of the library's source and what stands in its place.

Only tests can switch one on: in this process, or in a copy of the source on which another process runs. A piece that
isn't there any more, or is there twice, is an error: no mutant can lose its meaning unseen.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import shutil
import sys
import textwrap
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from stepwell.testing import Fault

__all__ = ["PROJECT", "SOURCE", "BySeeds", "ByTest", "Mutant", "Patch", "mutated_copy", "patched", "switched_on"]

PROJECT: Final = Path(__file__).parents[2]
SOURCE: Final = PROJECT / "src"


@dataclass(frozen=True)
class Patch:
    """In that definition (`module:name` or `module:Class.name`, below `stepwell`), *new* in place of *old*."""

    where: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        """The file of the definition, below the source's folder."""
        parts = self.where.partition(":")[0].split(".")
        return Path("stepwell", *parts).with_suffix(".py")

    def replace(self, text: str) -> str:
        """Return *text* with the defect. Raises LookupError unless the piece is there once."""
        if text.count(self.old) != 1:
            raise LookupError(f"{self.where} has {text.count(self.old)} times {self.old!r}: mend this mutant")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class BySeeds:
    """Killed by the simulation, on both event loops."""

    plan: tuple[Fault, ...] | None = None
    """faults in place of those that a seed draws, for a defect that shows in one situation only"""


@dataclass(frozen=True)
class ByTest:
    """Killed by this test, told as pytest tells it, below `tests/`."""

    id: str

    @property
    def file(self) -> Path:
        """Where it stands."""
        return PROJECT / "tests" / self.id.partition("::")[0]

    @property
    def function(self) -> str:
        """Its name."""
        return self.short.partition("[")[0]

    @property
    def short(self) -> str:
        """Its name and its parameters."""
        return self.id.partition("::")[2]


@dataclass(frozen=True)
class Mutant:
    """A defect: what it is in words, how it is killed, and the patches that make it."""

    name: str
    killer: BySeeds | ByTest
    patches: tuple[Patch, ...]


# -- in a copy of the source -------------------------------------------------------------------------------------------


def mutated_copy(source: Path, target: Path, patches: Sequence[Patch]) -> None:
    """Copy the library to *target*, with the defect. Raises LookupError and SyntaxError."""
    shutil.copytree(source, target)
    for patch in patches:
        path = target / patch.path
        text = patched(path.read_text(), patch)
        compile(text, str(path), "exec", dont_inherit=True)
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def patched(text: str, patch: Patch) -> str:
    """Return a module's *text* with the defect in that one definition. Raises LookupError."""
    lines = text.splitlines(keepends=True)
    first, last = _place(ast.parse(text), patch.where)
    whole = "".join(lines[first:last])
    plain = textwrap.dedent(whole)
    margin = whole[: whole.index(plain[0])]
    return "".join([*lines[:first], textwrap.indent(patch.replace(plain), margin), *lines[last:]])


def _place(tree: ast.Module, where: str) -> tuple[int, int]:
    """Return the lines of a definition, as a slice takes them."""
    body: Sequence[ast.stmt] = tree.body
    found: ast.stmt | None = None
    for name in where.partition(":")[2].split("."):
        found = next((each for each in body if _name(each) == name), None)
        if found is None:
            raise LookupError(f"there is no {where}: mend this mutant")
        body = getattr(found, "body", [])
    assert found is not None
    decorators: list[ast.expr] = getattr(found, "decorator_list", [])
    first = min([found.lineno, *(each.lineno for each in decorators)])
    return first - 1, found.end_lineno or found.lineno


def _name(statement: ast.stmt) -> str | None:
    match statement:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return statement.name
        case ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]):
            return name
        case _:
            return None


# -- in this process ---------------------------------------------------------------------------------------------------


@contextmanager
def switched_on(mutant: Mutant) -> Generator[None]:
    """Run the block with the defect, which must be in functions."""
    with ExitStack() as stack:
        for patch in mutant.patches:
            stack.enter_context(_patched(patch))
        yield


@contextmanager
def _patched(patch: Patch) -> Generator[None]:
    module_name, _, path = patch.where.partition(":")
    owner: Any = import_module(f"stepwell.{module_name}")
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original = inspect.getattr_static(owner, name)
    with _replaced(owner, name, _rewritten(original, patch)):
        yield


def _rewritten(original: Any, patch: Patch) -> Any:
    function: Any = getattr(original, "__func__", original)
    source: str = getattr(function, "__mutated__", "") or textwrap.dedent(inspect.getsource(function))
    mutated = patch.replace(source)
    made: dict[str, Any] = {}
    code = compile(mutated, f"<mutant of {patch.where}>", "exec", flags=__future__.annotations.compiler_flag)
    exec(code, function.__globals__, made)  # noqa: S102 -- our own source, with a defect of our own
    result = made[function.__name__]
    getattr(result, "__func__", result).__mutated__ = mutated
    return result


@contextmanager
def _replaced(owner: Any, name: str, new: Any) -> Generator[None]:
    """Put *new* in its place: also where other modules have imported it by name."""
    old = inspect.getattr_static(owner, name)
    places = [(owner, name)]
    if inspect.ismodule(owner):
        places += [
            (module, name)
            for key, module in list(sys.modules.items())
            if key.startswith("stepwell") and module is not owner and getattr(module, name, None) is old
        ]
    for place, attribute in places:
        setattr(place, attribute, new)
    try:
        yield
    finally:
        for place, attribute in places:
            setattr(place, attribute, old)
