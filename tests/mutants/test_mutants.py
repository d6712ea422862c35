"""Each defect can be made, and what is to kill it is there. `nox -s mutants` kills them all; here a few cheap ones."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from stepwell.testing import Backend
from tests.mutants.killing import attempt, copy_without_defect
from tests.mutants.patches import SOURCE, ByTest, Mutant, Patch, mutated_copy, patched, switched_on
from tests.mutants.simulated import SIMULATED
from tests.mutants.table import MUTANTS, mutant
from tests.mutants.tested import TESTED
from tests.simulation.run import run_seed

SHOW_AT_ONCE: Final = (
    "the token is not raised by a claim",
    "a signal is marked as used in a second transaction",
    "an attempt is not counted at its claim",
)
FIRST_SEEDS: Final = 12
QUICK: Final = "a child's end is overlooked that comes while a worker looks at it"


def name_of(each: Mutant) -> str:
    return each.name


@pytest.mark.parametrize("each", MUTANTS, ids=name_of)
def test_a_mutant_fits_the_source(each: Mutant) -> None:
    """What it changes is there: a mutant whose source moved on would find nothing, and look as if it were caught."""
    texts: dict[Path, str] = {}
    for patch in each.patches:
        before = texts.get(patch.path) or (SOURCE / patch.path).read_text()
        texts[patch.path] = patched(before, patch)
        assert texts[patch.path] != before
    assert texts
    for path, text in texts.items():
        compile(text, str(path), "exec", dont_inherit=True)


@pytest.mark.parametrize("each", SIMULATED, ids=name_of)
def test_a_mutant_of_the_simulation_can_be_switched_on_and_leaves_nothing_behind(each: Mutant) -> None:
    with switched_on(each):
        pass
    with switched_on(each):
        pass


@pytest.mark.parametrize("each", TESTED, ids=name_of)
def test_the_test_that_kills_a_mutant_is_there(each: Mutant) -> None:
    assert isinstance(each.killer, ByTest)
    tree = ast.parse(each.killer.file.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert each.killer.function in functions


def test_no_two_mutants_have_one_name() -> None:
    assert len({each.name for each in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(
    ("where", "old"),
    [
        ("_leases:Leases.drop", "no such text"),
        ("_leases:Leases.drop", "held"),  # more than once
        ("_leases:Leases.no_such_method", "held"),
        ("_leases:Leases.take", "del self._held[held.id]"),  # which is in another method
    ],
)
def test_a_patch_that_does_not_fit_is_an_error(where: str, old: str) -> None:
    with pytest.raises(LookupError, match="mend this mutant"):
        patched((SOURCE / "stepwell" / "_leases.py").read_text(), Patch(where, old, "pass"))


def test_a_mutant_that_is_no_python_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError):
        mutated_copy(SOURCE, tmp_path / "src", [Patch("_leases:Leases.drop", "del self._held[held.id]", "del")])


def test_a_patch_touches_nothing_but_its_definition() -> None:
    before = (SOURCE / "stepwell" / "_leases.py").read_text()
    after = patched(before, Patch("_leases:Leases.drop", "del self._held[held.id]", "pass"))
    differing = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert differing == [("            del self._held[held.id]", "            pass")]


@pytest.mark.parametrize("name", SHOW_AT_ONCE)
def test_a_defect_is_found_within_a_few_seeds(name: str, backend: Backend) -> None:
    with switched_on(mutant(name)):
        assert any(run_seed(seed, backend).problems for seed in range(FIRST_SEEDS))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("clean") / "src"
    copy_without_defect(target)
    return target


def test_a_defect_is_found_by_its_test(clean: Path) -> None:
    verdict = attempt(QUICK, clean=clean, seeds=range(0))
    assert verdict.is_killed, verdict.told
    assert verdict.how == "test_a_parent_whose_child_ends_while_it_looks_is_due_again"


def test_what_its_test_does_not_find_lives(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Patch("_leases:Leases.drop", "del self._held[held.id]", "self._held.pop(held.id)")
    known = {"harmless": Mutant("harmless", mutant(QUICK).killer, (harmless,))}
    monkeypatch.setattr("tests.mutants.killing.named", known.__getitem__)
    verdict = attempt("harmless", clean=clean, seeds=range(0))
    assert (verdict.is_killed, verdict.how.partition(":")[0]) == (False, "passes")
    assert "1 passed" in verdict.told
