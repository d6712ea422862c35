"""Text for people: escaped, short, and aligned. Data never reaches the terminal but through here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from stepwell import Failure

__all__ = [
    "command",
    "escaped",
    "failure_text",
    "folded_command",
    "json_text",
    "length",
    "moment",
    "one_line",
    "say",
    "shortened",
    "table",
    "type_and_text",
]


def say(line: str = "") -> None:
    """Print one line, escaped, at once."""
    print(escaped(line), flush=True)


def escaped(text: str) -> str:
    r"""Return *text* with what can't be printed written as `\x1b`, `\n`, …: data can't steer the terminal.

    >>> escaped("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return escaped(" ".join(str(error).split())) or type(error).__name__


def type_and_text(error: BaseException) -> str:
    """Return an error's class and what it says, on one line."""
    return f"{type(error).__name__}: {one_line(error)}"


def failure_text(failure: Failure, width: int = 200) -> str:
    """Return a failure on one line of at most *width* characters, its class without the module."""
    text = escaped(" ".join(f"{failure.type.rpartition('.')[2]}: {failure.message}".split()))
    return text if len(text) <= width else f"{text[: width - 1]}…"


def shortened(value: object, width: int = 60) -> str:
    """Return data as JSON on one line of at most *width* characters.

    >>> shortened({"name": "Guam"})
    '{"name": "Guam"}'
    """
    text = escaped(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= width else f"{text[: width - 1]}…"


def length(seconds: float) -> str:
    """Return a duration in its largest unit.

    >>> [length(0.25), length(59), length(3600), length(200_000)]
    ['250 ms', '59.0 s', '1 h', '2 d']
    """
    if seconds < 0.9995:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} d"


def moment(time: datetime) -> str:
    """Return a time in UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ")


def command(*words: str) -> str:
    """Return a command line as it can be pasted into this platform's shell."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def folded_command(words: Sequence[str], width: int) -> list[str]:
    r"""Return a command line as lines of at most *width* columns, where its words let it; it can be pasted as it is.

    >>> folded_command(["stepwell", "show", "refund-1"], 20)
    ['stepwell show \\', '  refund-1']
    """
    if sys.platform == "win32":  # its shells disagree about how a line goes on
        return [command(*words)]
    lines = [""]
    for word in map(shlex.quote, words):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if len(lines[-1]) > 2 and len(longer) > width - 2:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines[-1] = longer
    return lines


def table(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return rows as lines with aligned columns."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def json_text(value: object) -> str:
    """Return a value of the public API as indented JSON, in ASCII."""
    return json.dumps(msgspec.to_builtins(value), indent=2)
