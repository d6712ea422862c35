"""What the README shows is what runs."""

import re
import runpy
from pathlib import Path

import anyio
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "refund.py"
OUTBOX = ROOT / "examples" / "outbox.py"

pytestmark = pytest.mark.real_time


def block(name: str) -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```\n<!-- /{name} -->", readme, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_readme_shows_the_example() -> None:
    assert block("example") == EXAMPLE.read_text(encoding="utf-8")


def test_the_readme_shows_the_graph_of_the_example() -> None:
    workflow = runpy.run_path(str(EXAMPLE))["refund"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- graph -->\n!\[([^]]+)\]\(([\w./]+)\)\n<!-- /graph -->", readme)
    assert found is not None
    assert [step for step in workflow.steps if step not in found[1]] == []
    picture = (ROOT / found[2]).read_text(encoding="utf-8")
    renew = f"stepwell graph examples.refund:refund -o {found[2]}"
    assert picture == format(workflow, "svg"), f"the picture is out of date; renew it with: {renew}"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_runs_and_runs_again(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(EXAMPLE))
    for _ in range(2):
        anyio.run(example["main"], backend=backend)
    assert capsys.readouterr().out == "Receipt(number='refund:o-1:pay', amount=80)\n" * 2


def test_the_readme_shows_a_part_of_the_outbox() -> None:
    assert block("outbox") in OUTBOX.read_text(encoding="utf-8")


def test_the_outbox_runs_and_runs_again(postgres_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    outbox = runpy.run_path(str(OUTBOX))
    for _ in range(2):
        anyio.run(outbox["main"], postgres_database)
    assert capsys.readouterr().out == "billing:1: invoice 1\nbilling:2: invoice 2\n"
