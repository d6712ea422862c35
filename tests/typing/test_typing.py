"""What pyright (strict) and mypy (--strict) find in this folder is exactly what is marked `# E:`, line by line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.glob("clean_*.py"), *HERE.glob("mistakes_*.py")])

Found = Mapping[tuple[str, int], str]

pytestmark = pytest.mark.real_time


def mypy(folder: Path) -> Found:
    """Run mypy once on all files, without the project's own configuration."""
    command = [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", "--no-error-summary"]
    options = ["--config-file=", f"--cache-dir={folder}", "--output=json"]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    ran = subprocess.run([*command, *options, *FILES], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode in {0, 1}, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    return {(Path(one["file"]).name, one["line"]): one["message"] for one in told if one["severity"] == "error"}


def pyright(folder: Path) -> Found:
    """Run pyright once on all files, under a configuration of its own."""
    settings = {
        "typeCheckingMode": "strict",
        "include": [os.path.relpath(file, folder) for file in FILES],
        "extraPaths": [os.path.relpath(ROOT / "src", folder), os.path.relpath(ROOT, folder)],
        "pythonVersion": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode in {0, 1}, ran.stderr
    told = json.loads(ran.stdout)["generalDiagnostics"]
    lines = [(Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"]) for one in told]
    return {(file, line): message for file, line, message in lines}


def marked() -> Found:
    """Return what each marked line says that it is about."""
    found: dict[tuple[str, int], str] = {}
    for file in FILES:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            mark = re.search(r"# E: (.+)", line)
            if mark:
                found[file.name, number] = mark[1]
    return found


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_checker_flags_every_mistake_and_nothing_else(check: Callable[[Path], Found], tmp_path: Path) -> None:
    pytest.importorskip(check.__name__)
    flagged, expected = check(tmp_path), marked()
    missed = {place: what for place, what in expected.items() if place not in flagged}
    extra = {place: what for place, what in flagged.items() if place not in expected}
    assert (missed, extra) == ({}, {})


def test_clean_files_hold_no_marks_and_the_others_do() -> None:
    files = {file for file, _ in marked()}
    assert files == {file.name for file in FILES if file.name.startswith("mistakes_")}
