"""What the command line writes for people, and how its commands can be pasted."""

from __future__ import annotations

import doctest
import shlex
import subprocess
import sys

import pytest

from stepwell.cli import _demo_shop, _text, _tree
from stepwell.cli._text import command, folded_command

WORDS = ["printf", "%s\\n", "--db", "/tmp/my flows.db", "refund-1", "review", '{"approved": true}']  # noqa: S108 -- never opened


@pytest.mark.parametrize("module", [_text, _tree, _demo_shop])
def test_the_examples_of_its_functions_hold(module: object) -> None:
    tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert (tried.failed, tried.attempted > 0) == (0, True)


@pytest.mark.skipif(sys.platform == "win32", reason="its shells disagree about how a line goes on")
@pytest.mark.parametrize("width", [1, 20, 40, 200])
def test_a_folded_command_is_the_same_command(width: int) -> None:
    lines = folded_command(WORDS, width)
    assert shlex.split(command(*WORDS)) == WORDS
    ran = subprocess.run(["/bin/sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == WORDS[2:]
    longest = max(len(shlex.quote(word)) for word in WORDS) + 4
    assert all(len(line) <= max(width, longest) for line in lines)
