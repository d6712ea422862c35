"""Journals as text: one line an entry, and an expected text in which names stand for ids that nobody can know before.

A line is `<seconds> <kind> <step> <visit>/<attempt> <field>=<value> …`, with those fields that the entry has. `+` in
place of the seconds: in the same commit as the line before. `*`: at some time. `$name` as a value is bound where it is
used first and stands for the same value from then on; two names never stand for one value.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, Final, cast

from stepwell._model import Entry, Kind

__all__ = ["Names", "difference", "lines_of", "reduced"]

_FAILURES: Final = {Kind.STEP_RETRY, Kind.STEP_FAILED}


class Names:
    """What the names of one scenario stand for."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def bind(self, name: str, value: str) -> None:
        """Let *name* stand for *value* unless one of them is bound already."""
        if name not in self._values and value not in self._names:
            self._values[name] = value
            self._names[value] = name

    def name_of(self, value: str) -> str:
        """Return the name that stands for *value*, or the value itself."""
        return self._names.get(value, value)


def lines_of(journal: Sequence[Entry], *, prefix: str, began: int) -> list[str]:
    """Return the journal, a line an entry. Without the *prefix* of ids; times count from *began* (microseconds)."""
    lines: list[str] = []
    change = ""
    for entry in journal:
        is_with = entry.change != "" and entry.change == change
        change = entry.change
        time = "+" if is_with else _seconds(entry.at - began)
        lines.append(" ".join((time, *_tokens(entry, prefix))))
    return lines


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1e6:.2f}".rstrip("0").rstrip(".")


def _tokens(entry: Entry, prefix: str) -> list[str]:
    tokens = [entry.kind.value]
    if entry.step is not None:
        tokens += [entry.step, f"{entry.visit}/{entry.attempt}"]
    for key in ("worker", "token", "route", "ref"):
        value = getattr(entry, key)
        if value:
            tokens.append(f"{key}={value}")
    if entry.payload is not None:
        value = reduced(json.loads(entry.payload))
        if entry.kind in _FAILURES:
            tokens += [f"code={value['code']}", f"type={value['type']}"]
        else:
            tokens.append(f"payload={_compact(value)}")
    return [token.replace(prefix, "") for token in tokens]


def reduced(value: Any) -> Any:
    """Return a JSON value with each failure reduced to what is stable of it: its code, and its class's own name."""
    if isinstance(value, list):
        return [reduced(item) for item in cast("Sequence[Any]", value)]
    if not isinstance(value, dict):
        return value
    table = cast("dict[str, Any]", value)
    if "type" in table and "message" in table:
        return {"code": table.get("code", "error"), "type": table["type"].rpartition(".")[2]}
    return {key: reduced(item) for key, item in table.items()}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def difference(expected: str, found: Sequence[str], names: Names) -> str:
    """Return how the journal that was *found* differs from the *expected* text; empty if it doesn't."""
    wanted = [" ".join(line.split()) for line in expected.splitlines() if line.strip()]
    for line, other in zip(wanted, found, strict=False):
        _bind(line, other, names)
    shown = [_named(line, names) for line in found]
    shown = [_timeless(line, other) for line, other in zip(shown, wanted, strict=False)] + shown[len(wanted) :]
    if shown == wanted:
        return ""
    return "\n".join(difflib.unified_diff(wanted, shown, "expected", "found", n=99, lineterm=""))


def _bind(line: str, other: str, names: Names) -> None:
    """Bind what is named in an expected line to what stands at the same place of the line that was found."""
    for token, value in zip(line.split(), other.split(), strict=False):
        key, _, name = token.partition("=")
        if name.startswith("$") and value.startswith(f"{key}="):
            names.bind(name, value.removeprefix(f"{key}="))


def _named(line: str, names: Names) -> str:
    head, mark, payload = line.partition(" payload=")
    tokens: list[str] = []
    for token in head.split():
        key, equals, value = token.partition("=")
        tokens.append(f"{key}{equals}{names.name_of(value)}" if equals else token)
    return " ".join(tokens) + mark + payload


def _timeless(line: str, wanted: str) -> str:
    """Leave the time out where the expected line does."""
    time, _, rest = line.partition(" ")
    return f"* {rest}" if wanted.startswith("* ") and time != "+" else line
