"""Every check of the project. `nox` runs what a change must pass; `nox -s tests-3.12 -- -k wait` a part of it.

The tests run on every released interpreter from 3.11 on that this machine has: those on the PATH, and those of pyenv
whether they are switched on or not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "imports", "types", "tests", "coverage"]

PROJECT: Final[dict[str, Any]] = nox.project.load_toml("pyproject.toml")
NEWEST_MINOR: Final = 15
"""The newest 3.x that is looked for."""

WHO_ARE_YOU: Final = "import sys; print('%d.%d' % sys.version_info[:2], sys.version_info.releaselevel)"


def runs(executable: Path, version: str) -> bool:
    """Tell whether *executable* is a released Python of this version that really starts (a pyenv shim may not)."""
    try:
        command = [str(executable), "-c", WHO_ARE_YOU]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 (ours)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.split() == [version, "final"]


def candidates(version: str) -> Iterator[Path]:
    """Give the places where an interpreter of this version may be: what a shell would find, then pyenv's own."""
    name = f"python{version}"
    found = shutil.which(name)
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = [folder for folder in (pyenv / "versions").glob(f"{version}.*") if folder.name.split(".")[2].isdigit()]
    for folder in sorted(installed, key=lambda folder: int(folder.name.split(".")[2]), reverse=True):
        yield folder / "bin" / name
    for place in os.get_exec_path():
        yield Path(place) / name


def interpreters() -> list[str]:
    """Return the versions this machine can run, and see to it that nox finds them under their names."""
    versions: list[str] = []
    for minor in range(11, NEWEST_MINOR + 1):
        version = f"3.{minor}"
        working = next((path for path in candidates(version) if path.exists() and runs(path, version)), None)
        if working is None:
            continue
        versions.append(version)
        if str(working) != shutil.which(working.name):
            os.environ["PATH"] = os.pathsep.join([str(working.parent), os.environ.get("PATH", "")])
    return versions or [f"{sys.version_info.major}.{sys.version_info.minor}"]


INTERPRETERS: Final = interpreters()
NEWEST: Final = INTERPRETERS[-1]
ONCE: Final = (
    "benchmarks",
    "chaos",
    "cli/test_live_demo.py",
    "engine/test_blocked_loops.py",
    "engine/test_blocked_processes.py",
    "engine/test_latencies.py",
    "engine/test_outbox.py",
    "engine/test_transactional_steps.py",
    "engine/test_transactions_lost.py",
    "faults",
    "mutants",
    "scenarios",
    "simulation",
    "storage/test_storages_agree.py",
    "storage/test_postgres_plans.py",
    "storage/test_postgres_partitioned.py",
    "typing",
)
"""Tests whose outcome hardly depends on the interpreter, or that take long."""
CORE: Final = ("bad_input/test_definitions.py", "property", "scenarios", "unit")
"""Tests that run all of the pure core, and hardly more."""


def groups(*names: str) -> tuple[str, ...]:
    """Return the requirements of these dependency groups."""
    return nox.project.dependency_groups(PROJECT, *names)


def pure_core() -> str:
    """Return the files of the pure core, as coverage takes them: the modules that the import contract names."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    modules: list[str] = next(one["source_modules"] for one in contracts if one["id"] == "pure-core")
    paths = [f"*/{module.replace('.', '/')}" for module in modules]
    return ",".join(f"{path}{end}" for path in paths for end in (".py", "/*"))


@nox.session(python=INTERPRETERS)
def tests(session: nox.Session) -> None:
    """Run the tests against the package as it would be installed.

    What is in ONCE runs on the newest interpreter only; so does, without arguments, what takes Postgres, but for what
    every storage promises, which the oldest runs as well. Trio is left to these two. The variable STEPWELL_TESTS splits
    what the newest runs, and `coverage` does not, between two runs: `once` is what is in ONCE, `every` the rest.
    """
    session.install(".[all]", *groups("test"))
    session.run("pytest", *chosen(session), *session.posargs)


def chosen(session: nox.Session) -> list[str]:
    """Return the arguments by which pytest takes this interpreter's share of the tests."""
    if session.python != NEWEST:
        share = [f"--ignore=tests/{path}" for path in ONCE]
        if session.posargs:
            return share
        is_oldest = session.python == INTERPRETERS[0]
        return [*share, "-k", "not postgres or test_contract" if is_oldest else "not postgres and not trio"]
    parts = {
        "": [],
        "once": [f"tests/{path}" for path in ONCE if path not in CORE],
        "every": [f"--ignore=tests/{path}" for path in sorted({*ONCE, *CORE})],
    }
    return parts[os.environ.get("STEPWELL_TESTS", "")]


@nox.session(python=NEWEST)
def pgbouncer(session: nox.Session) -> None:
    """Run every check of a storage behind PgBouncer in transaction mode; its program must be installed."""
    session.install(".[all]", *groups("test"))
    session.run("pytest", "--pgbouncer", *session.posargs)


@nox.session(python=NEWEST)
def chaos(session: nox.Session) -> None:
    """Harm processes, networks, disks and servers in every way there is, for some 25 minutes.

    What takes root or a program (strace, ip) that is missing is skipped, and pytest says so.
    """
    session.install(".[all]", *groups("test"))
    session.run("pytest", "--chaos", *session.posargs)


@nox.session(python=NEWEST)
def soak(session: nox.Session) -> None:
    """Let three workers run 50,000 executions for ten minutes while everything strikes; `-- --help` tells more."""
    session.install(".[all]", *groups("test"))
    session.run("python", "-m", "tests.chaos.soak", *session.posargs)


@nox.session(python=NEWEST)
def model(session: nox.Session) -> None:
    """Search all states of the model of the leases, and find each of its mutants; spin and gcc must be installed."""
    session.run("python", "-m", "tests.model", *session.posargs)


@nox.session(python=NEWEST)
def faults(session: nox.Session) -> None:
    """Spoil every storage call of every scenario, one at a time; with `--pairs` two; `--budget 600` ends it in time.

    All arguments are those of `python -m tests.faults`. Without any, what takes processes and Hypothesis follows: the
    end of a process at every storage call, and a long run of storages that must agree.
    """
    session.install(".[all]", *groups("test"))
    session.run("python", "-m", "tests.faults", *session.posargs)
    if not session.posargs:
        session.run("pytest", "--faults", "-o", "faulthandler_timeout=0")


@nox.session(python=NEWEST)
def simulation(session: nox.Session) -> None:
    """Run 10,000 seeds on each event loop; `nox -s simulation -- --seeds 500 --start 20000` some others."""
    session.install(".[all]", *groups("test"))
    session.run("python", "-m", "tests.simulation", "--seeds", "10000", "--processes", "2", *session.posargs)


@nox.session(python=NEWEST)
def mutants(session: nox.Session) -> None:
    """Kill each deliberate defect, by the simulation or a test; `-- --only renewal` those of such names alone."""
    session.install(".[all]", *groups("test"))
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session(python=NEWEST)
def coverage(session: nox.Session) -> None:
    """Run the tests of the pure core, or those named, with branch coverage; the core must be covered whole."""
    session.install("-e", ".[all]", *groups("test", "coverage"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or [f"tests/{path}" for path in CORE]))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    session.run("coverage", "report", f"--include={pure_core()}", "--fail-under=100")


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Look for mistakes and for code that isn't formatted."""
    session.install(*groups("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Check the types, tests included, with mypy and pyright."""
    session.install("-e", ".[all]", *groups("types"))
    session.run("mypy")
    session.run("pyright")


@nox.session(python=NEWEST)
def imports(session: nox.Session) -> None:
    """Check that imports point one way only."""
    session.install("-e", ".", *groups("imports"))
    session.run("lint-imports")


@nox.session(python=NEWEST)
def bench(session: nox.Session) -> None:
    """Measure on this machine; `nox -s bench -- --quick` only sees that it works. See benchmarks/README.md."""
    session.install(".[all]", *groups("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=NEWEST)
def bench_peers(session: nox.Session) -> None:
    """Measure beside others who do the same, which are installed for that."""
    session.install(".[all]", *groups("peers"))
    session.run("python", "-m", "benchmarks", "peers", *session.posargs)


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".[all]", *groups("docs"))
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "docs", "docs/_build")
