"""The model, the table of what must come of it, and the page about it say the same. None of this needs Spin."""

import re
from pathlib import Path

import pytest

from tests.model.__main__ import main
from tests.model.expectations import BREAKS, EXPECTATIONS, HOLDS, MODEL, NEXT_LOOK, REACHES, Expectation
from tests.model.verifier import judge

TEXT = MODEL.read_text(encoding="utf-8")
HEAD, _, BODY = TEXT.partition("*/")
PAGE = (Path(__file__).parents[2] / "docs" / "model.md").read_text(encoding="utf-8")

SIZES = {"STEPS", "CLAIMS"}
QUESTIONS = {"ONLY", "EXCEPT", "REACH"}
ASSUMPTIONS = {"STALLS", "JUMPS"}
VARIANTS = {"SENDS_UNTRUSTED"}

WHOLE = """
State-vector 84 byte, depth reached 147, errors: 0
   156655 states, stored

unreached in proctype Clock
\tlease.pml:178, state 15, "-end-"
\t(1 of 15 states)
"""
BROKEN = """
pan:1: assertion violated ((3!=3)||(doing[(1-me)]!=2)) (at depth 19)
pan: wrote lease.pml.trail
State-vector 84 byte, depth reached 19, errors: 1
     1275 states, stored
"""
PLAIN = [one for one in BREAKS if one.options == (one.name,)]
KEEPS = HOLDS[0]
TRUSTS_TOO_LONG = next(one for one in BREAKS if one.name == "TRUST_FROM_ANSWER")


def mutants() -> set[str]:
    """Return the mutants that the head of the model names."""
    listed = HEAD[HEAD.index("Mutants") : HEAD.index("Assumptions")]
    return set(re.findall(r"^\s+-D(\w+)", listed, re.MULTILINE))


def test_every_mutant_of_the_model_is_expected_to_break_a_promise() -> None:
    assert len(mutants()) >= 9
    assert mutants() | ASSUMPTIONS == {one.name for one in PLAIN}


def test_every_switch_of_the_model_is_known_and_every_known_one_is_a_switch() -> None:
    tested = re.findall(r"^#(?:ifdef|ifndef) (\w+)|\bdefined\((\w+)\)", BODY, re.MULTILINE)
    switches = {first or second for first, second in tested}
    assert switches == mutants() | SIZES | QUESTIONS | ASSUMPTIONS | VARIANTS
    assert set(re.findall(r"-D([A-Z_]+)", HEAD)) == switches - SIZES


def test_every_switch_is_run() -> None:
    run = {option.partition("=")[0] for one in EXPECTATIONS for option in one.defines}
    assert run == {f"-D{name}" for name in mutants() | SIZES | QUESTIONS | ASSUMPTIONS | VARIANTS}


def test_every_promise_that_is_to_be_broken_is_an_assertion_of_the_model() -> None:
    asserted = set(re.findall(r"promise\((\d+|NEXT_LOOK), ", BODY))
    assert f"#define NEXT_LOOK {NEXT_LOOK} " in BODY
    assert {"NEXT_LOOK" if one.breaks == NEXT_LOOK else str(one.breaks) for one in BREAKS} <= asserted
    assert {int(number) for number in re.findall(r"\breach\((\d+), ", BODY)} == {one.reaches for one in REACHES}


def test_each_is_asked_for_once() -> None:
    assert len({one.name for one in EXPECTATIONS}) == len({one.defines for one in EXPECTATIONS}) == len(EXPECTATIONS)


def test_the_page_names_every_mutant_and_the_promise_that_it_breaks() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \|.*?\| P(\d+) \|", PAGE, re.MULTILINE))
    assert told == {one.name: str(one.breaks) for one in PLAIN}
    assert all(f"`{name}`" in PAGE for name in VARIANTS)
    assert set(re.findall(r"^- \*\*P(\d+)\*\*", PAGE, re.MULTILINE)) == set(re.findall(r"promise\((\d+), ", BODY))
    assert f"# {len(EXPECTATIONS)} variants" in PAGE


def test_a_search_without_errors_is_what_a_sound_variant_must_come_to() -> None:
    assert judge(KEEPS, WHOLE) == (None, 156_655)


def test_a_broken_promise_is_what_a_mutant_must_come_to() -> None:
    assert judge(TRUSTS_TOO_LONG, BROKEN) == (None, 1_275)


@pytest.mark.parametrize(
    ("expected", "said", "complaint"),
    [
        (KEEPS, BROKEN, "assertion violated ((3!=3)||(doing[(1-me)]!=2))"),
        (KEEPS, WHOLE.replace('"-end-"', '"(is_still[me])"'), "never reached: line 178: (is_still[me])"),
        (
            KEEPS,
            f"error: max search depth too small\n{WHOLE}",
            "the search was not complete: max search depth too small",
        ),
        (KEEPS, f"pan: out of memory\n{WHOLE}", "the search was not complete: out of memory"),
        (KEEPS, "pan: reached -DMEMLIM bound", "the search did not end: pan: reached -DMEMLIM bound"),
        (TRUSTS_TOO_LONG, WHOLE, "no counterexample was found: the model is too weak"),
        (TRUSTS_TOO_LONG, BROKEN.replace("3!=3", "2!=2"), "another error came first: assertion violated ((2!=2)||"),
        (TRUSTS_TOO_LONG, "pan:1: invalid end state (at depth 3)", "another error came first: invalid end state"),
    ],
)
def test_anything_else_is_complained_of(expected: Expectation, said: str, complaint: str) -> None:
    found, _ = judge(expected, said)
    assert found is not None
    assert found.startswith(complaint)


def test_whoever_lacks_spin_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.err == "the model needs spin and gcc; on Debian: apt-get install spin gcc\n"
    assert not said.out


def test_a_name_that_no_variant_has_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["MISSPELT"]) == 2
    assert capsys.readouterr().err == "no variant of the model begins with MISSPELT\n"
