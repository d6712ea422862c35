"""`stepwell graph`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, SQLiteStorage
from stepwell.cli import main
from tests.cli.shop import greeting
from tests.support.pictures import nodes_of, parsed

APP = "tests.cli.shop:greeting"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory is an empty one; the tests' own modules can still be imported."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path.cwd())])
    path = tmp_path / "elsewhere"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with an execution that waits at the second step."""
    path = tmp_path / "flows.db"

    async def fill() -> None:
        async with SQLiteStorage(path) as storage, Engine(storage, workflows=[greeting]) as engine:
            await engine.start(greeting, "Ada", id="waits")
            await engine.run_until_idle()

    anyio.run(fill)
    return path


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("x.svg", "svg"),
        ("x.SVG", "svg"),
        ("x.mmd", "mermaid"),
        ("x.mermaid", "mermaid"),
        ("x.dot", "dot"),
        ("x.gv", "dot"),
    ],
)
def test_the_suffix_names_the_format(name: str, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / name
    assert main(["graph", APP, "-o", str(output)]) == 0
    assert output.read_bytes() == format(greeting, spec).encode()
    assert capsys.readouterr().out == ""


def test_a_format_that_is_said_counts_more_than_the_suffix(tmp_path: Path) -> None:
    output = tmp_path / "picture.txt"
    assert main(["graph", APP, "--output", str(output), "--format", "dot"]) == 0
    assert output.read_text(encoding="utf-8") == format(greeting, "dot")


@pytest.mark.parametrize("spec", ["svg", "mermaid", "dot"])
def test_without_a_file_it_goes_to_the_standard_output(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", APP, "--format", spec]) == 0
    assert capsys.readouterr().out == format(greeting, spec)


def test_without_a_format_it_is_svg(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", APP]) == 0
    assert capsys.readouterr().out == format(greeting, "svg")


def test_a_terminal_without_unicode_gets_well_formed_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["graph", APP]) == 0
    text = raw.getvalue().decode("ascii")
    assert "&#8594;" in text
    assert len(nodes_of(parsed(text))) == len(greeting.steps)


def test_the_demo_can_be_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "stepwell.cli._demo_workflow:import_airports"]) == 0
    assert len(nodes_of(parsed(capsys.readouterr().out))) > 5


@pytest.mark.parametrize("app", [APP, "tests.cli.shop:workflows"])
def test_an_execution_is_drawn_on_its_workflow(
    app: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "waits.svg"
    assert main(["graph", app, "--execution", "waits", "--db", str(database), "-o", str(output)]) == 0
    assert capsys.readouterr().out == ""
    root = parsed(output.read_text(encoding="utf-8"))
    assert [group.get("class") for group in nodes_of(root)] == ["n done", "n held", "n u", "n u"]


def test_a_long_journal_is_read_to_its_end(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["graph", APP, "--execution", "waits", "--db", str(database)]
    assert main(arguments) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr("stepwell.cli._graph._PAGE", 1)
    assert main(arguments) == 0
    assert capsys.readouterr().out == whole


MODULE = """
from stepwell import Context, Workflow, succeed
print("a module that talks")
@succeed
def done(ctx: Context[None]) -> None: ...
talking = Workflow("talking", version="1", start=done, edges=[])
"""


def test_what_a_module_prints_is_no_part_of_the_picture(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "stepwell_talking.py").write_text(MODULE)
    (elsewhere / "stepwell_leaving.py").write_text("import sys\nsys.exit('no')")
    assert main(["graph", "stepwell_talking:talking", "--format", "mermaid"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("flowchart")
    assert captured.err == "a module that talks\n"
    assert main(["graph", "stepwell_leaving:flow"]) == 1
    assert "stepwell_leaving:flow can't be imported: SystemExit: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["shop"], (2, "takes MODULE:NAME, such as shop.flows:refund, not 'shop'")),
        (["tests.cli.none:x"], (1, "tests.cli.none:x can't be imported: ModuleNotFoundError")),
        (["tests.cli.shop:none"], (1, "tests.cli.shop:none can't be imported: AttributeError")),
        (["tests.cli.shop:other"], (1, "tests.cli.shop:other is neither a Workflow nor a list of them")),
        (["tests.cli.test_graph:two"], (1, "is a list of 2 workflows (greeting, greeting)")),
        ([APP, "-o", "picture.png"], (2, "the suffix of picture.png names no format; use one of .svg, .mmd")),
        ([APP, "-o", "picture"], (2, "names no format")),
        ([APP, "-o", "nowhere/picture.svg"], (1, "picture.svg can't be written: No such file or directory")),
        ([APP, "--execution", "waits", "--format", "dot"], (2, "only be drawn as svg, not as dot")),
        ([APP, "--execution", "missing"], (1, "no execution 'missing'")),
        ([APP, "--execution", "waits", "--db", "none.db"], (1, "there is no database none.db")),
        (
            ["stepwell.cli._demo_workflow:import_airports", "--execution", "waits"],
            (1, "'greeting' version '1', and this"),
        ),
    ],
)
def test_what_can_not_be_done_is_one_line(
    database: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], answer: tuple[int, str]
) -> None:
    code, says = answer
    options = [] if "--db" in arguments else ["--db", str(database)]
    assert main(["graph", *arguments, *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert list(elsewhere.iterdir()) == []


def test_an_unknown_format_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", APP, "--format", "png"]) == 2
    assert "usage: stepwell" in capsys.readouterr().err


two = [greeting, greeting]


def test_the_help_tells_what_it_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "draw a workflow, and how an execution of it stands" in " ".join(capsys.readouterr().out.split())
