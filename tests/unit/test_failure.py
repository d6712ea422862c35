"""What user code raises, as a record: catalogue 4.4, and how values are shown in messages."""

from __future__ import annotations

import linecache
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stepwell._failure as module
from stepwell._failure import Failure, describe, failure_of, type_name
from tests.unit.raising import chained, cyclic, mutually_recursing, nested_groups, recursing, with_notes

LIMIT = 64 * 1024


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def total(failure: Failure) -> int:
    return 1 + sum(total(cause) for cause in failure.causes)


class StrRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class StrExits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class StrIsNoText(Exception):
    def __str__(self) -> Any:
        return 3  # noqa: PLE0307 — that is the point


class HostileText(str):
    __slots__ = ()

    def __getitem__(self, key: object) -> NoReturn:
        raise RuntimeError("sliced")

    def isprintable(self) -> NoReturn:
        raise RuntimeError("asked")


class StrIsHostile(Exception):
    def __str__(self) -> str:
        return HostileText("gentle")


class NotesRaise(Exception):
    def __getattribute__(self, name: str) -> object:
        raise SystemExit(name)


class Hidden(type):
    def __getattribute__(cls, name: str) -> object:
        raise RuntimeError("hidden")


class HiddenError(Exception, metaclass=Hidden):
    pass


class LyingError(Exception):
    @property
    def __class__(self) -> Any:
        raise SystemExit("who am I")

    @__class__.setter
    def __class__(self, value: object) -> None: ...


RAISED: dict[str, Callable[[], BaseException]] = {
    "66-str-raises": lambda: raised(StrRaises()),
    "66-str-exits": lambda: raised(StrExits()),
    "66-str-returns-int": lambda: raised(StrIsNoText()),
    "66-str-returns-hostile-text": lambda: raised(StrIsHostile()),
    "67-metaclass-hides-name": lambda: raised(HiddenError("x")),
    "67-class-property-exits": lambda: raised(LyingError("x")),
    "68-message-of-50-MB": lambda: ValueError("x" * 50_000_000),
    "68-notes-of-10-MB": lambda: with_notes("n" * 10_000_000, *["m" * 10_000] * 1_000),
    "68-notes-raise": lambda: NotesRaise("x"),
    "69-nul-and-surrogate": lambda: ValueError("a\0b\ud800c\x1b[31m\u202e"),
    "70-ten-thousand-causes": lambda: chained(10_000),
    "70-cyclic-cause": cyclic,
    "71-group-of-100-000": lambda: ExceptionGroup("many", [ValueError(str(n)) for n in range(100_000)]),
    "71-group-nested-2-000-deep": lambda: nested_groups(2_000),
    "71-wide-groups-of-groups": lambda: ExceptionGroup("g", [nested_groups(5) for _ in range(50)]),
    "73-recursion-error": recursing,
    "73-mutual-recursion": mutually_recursing,
    "75-base-exception": lambda: BaseException("x"),
    "75-generator-exit": GeneratorExit,
    "75-stop-iteration": lambda: StopIteration(4),
    "75-stop-async-iteration": StopAsyncIteration,
    "76-system-exit": lambda: SystemExit(3),
    "76-keyboard-interrupt": KeyboardInterrupt,
    "80-memory-error": MemoryError,
}


@pytest.mark.parametrize("make", RAISED.values(), ids=RAISED)
def test_whatever_is_raised_becomes_a_bounded_record(make: Callable[[], BaseException]) -> None:
    error = make()
    started = time.perf_counter()
    failure = failure_of(error)
    assert time.perf_counter() - started < 5
    text = msgspec.json.encode(failure)
    assert len(text) <= LIMIT
    assert msgspec.json.decode(text, type=Failure) == failure
    assert b"\\u0000" not in text
    assert total(failure) < 300
    assert failure.type
    assert len(failure.summary) <= 200
    assert failure.summary.isprintable()


@pytest.mark.parametrize("limit", [1, 1_024, 3_000, 20_000])
@pytest.mark.parametrize("make", RAISED.values(), ids=RAISED)
def test_a_record_fits_a_smaller_limit(make: Callable[[], BaseException], limit: int) -> None:
    failure = failure_of(make(), limit=limit, code="é" * 1_000)
    assert len(msgspec.json.encode(failure)) <= max(limit, 1_024)


def test_a_message_of_four_byte_characters_fits_the_least_limit() -> None:
    failure = failure_of(type("T" * 300, (Exception,), {})("\U0001f600" * 9_000), code="\U0001f600" * 300, limit=1_024)
    assert len(msgspec.json.encode(failure)) <= 1_024


def test_a_record_says_type_message_and_code() -> None:
    failure = failure_of(raised(ValueError("wrong\nthere")), code="payload")
    assert (failure.type, failure.message, failure.code) == ("ValueError", "wrong\nthere", "payload")
    assert failure.summary == "ValueError: wrong there"
    assert failure_of(KeyError()).summary == "KeyError"


def test_a_type_of_a_module_has_the_modules_name() -> None:
    assert failure_of(StrRaises()).type == f"{__name__}.StrRaises"
    assert failure_of(HiddenError()).type == f"{__name__}.HiddenError"
    assert failure_of(type("Odd", (Exception,), {"__module__": 3})()).type == "Odd"


def test_a_text_that_cannot_be_made_is_said_so() -> None:
    assert failure_of(StrRaises()).message == "<exception str() failed>"
    assert failure_of(NotesRaise()).notes == ("<the notes can't be read>",)
    assert failure_of(StrIsHostile()).message == "gentle"


def test_a_long_message_keeps_its_head_and_its_tail() -> None:
    message = failure_of(ValueError("begin" + "x" * 50_000_000 + "end")).message
    assert message.startswith("beginx")
    assert "… 50.0 MB cut …" in message
    assert message.endswith("xend")
    assert "… 4.0 kB cut …" in failure_of(ValueError("y" * 12_000)).message
    assert "… 500 bytes cut …" in failure_of(ValueError("y" * 8_500)).message


def test_nul_and_surrogates_are_escaped() -> None:
    assert failure_of(ValueError("a\0b\ud800c\td")).message == "a\\x00b\\ud800c\td"


def test_notes_are_kept_in_part() -> None:
    assert failure_of(with_notes("first", 3)).notes == ("first", "3")
    assert failure_of(with_notes(*"abcdefghij")).notes[-1] == "… 2 more notes …"
    error = ValueError()
    vars(error)["__notes__"] = "no list"
    assert failure_of(error).notes == ("'no list'",)


def test_a_traceback_has_file_line_and_source_but_no_locals() -> None:
    secret = "".join(["hun", "ter2"])
    trace = failure_of(raised(ValueError(len(secret)))).traceback
    assert f'File "{Path(__file__)}"' in trace
    assert "in raised" in trace
    assert "raise error" in trace
    assert "hunter2" not in trace


def test_a_deep_traceback_keeps_both_ends() -> None:
    trace = failure_of(recursing()).traceback
    assert " frames …" in trace
    assert "in recursing" in trace
    assert trace.count("in dive") == 27


def run_as(filename: str, source: str = "raise ValueError('here')") -> BaseException:
    code: CodeType = compile(source, filename, "exec")
    try:
        exec(code, {})  # noqa: S102
    except ValueError as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        return error
    raise AssertionError


def test_frames_of_the_library_come_only_where_there_is_nothing_else() -> None:
    library = f"{Path(str(module.__file__)).parent}/_runner.py"
    own = run_as(library)
    assert "_runner.py" in failure_of(own).traceback

    source = f"exec(compile(\"raise ValueError('x')\", {'user.py'!r}, 'exec'))"
    trace = failure_of(run_as(library, source)).traceback
    assert "_runner.py" not in trace
    assert "user.py" in trace


def test_a_source_that_cannot_be_read_leaves_the_line_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(filename: str, number: int) -> NoReturn:
        raise OSError(filename, number)

    error = raised(ValueError("x"))
    monkeypatch.setattr(linecache, "getline", unreadable)
    assert "in raised" in failure_of(error).traceback
    assert "raise error" not in failure_of(error).traceback


def test_a_failure_that_cannot_be_written_down_still_has_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(module, "_chained", exhausted)
    failure = failure_of(ValueError("x"), code="crashed")
    assert (failure.type, failure.code) == ("ValueError", "crashed")


@given(st.text(st.characters()), st.integers(1, 5_000))
def test_any_text_fits_and_is_storable(text: str, limit: int) -> None:
    failure = failure_of(ValueError(text), limit=limit)
    encoded = msgspec.json.encode(failure)
    assert len(encoded) <= max(limit, 1_024)
    assert b"\\u0000" not in encoded


# --- describe ------------------------------------------------------------------------------------------------------


class Mute:
    def __repr__(self) -> str:
        raise SystemExit("never asked")


def _link_of_docs() -> None: ...


VALUES: list[tuple[object, str]] = [
    ("text", "'text'"),
    ("a\0\ud800", "'a\\x00\\ud800'"),
    (b"\x00", "b'\\x00'"),
    (None, "None"),
    (1.5, "1.5"),
    (Decimal("1.10"), "Decimal('1.10')"),
    (date(2024, 2, 29), "datetime.date(2024, 2, 29)"),
    (-7, "-7"),
    (10**5000, "an int of about 5000 digits"),
    ([1, [2, [3]]], "[1, [2, […]]]"),
    ((1, 2, 3, 4, 5), "(1, 2, 3, 4, …)"),
    ({"k": Mute()}, "{'k': <Mute object>}"),
    ({1}, "{1}"),
    (frozenset({1}), "frozenset({1})"),
    (Mute, f"<class {__name__}.Mute>"),
    (_link_of_docs, "<function _link_of_docs>"),
    ("pg://ada:s3cret@db", "'pg://***@db'"),
    (b"pg://ada:s3cret@db", "b'pg://***@db'"),
    ({"dsn": "host=db password=s3cret"}, "{'dsn': 'host=db password=***'}"),
    ("pg://" + "u" * 40 + ":s3cret@db", "'pg://***@db'"),
]


@pytest.mark.parametrize(("value", "shown"), VALUES, ids=[shown for _, shown in VALUES])
def test_a_value_is_described(value: object, shown: str) -> None:
    assert describe(value) == shown


def test_a_description_is_short_and_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(describe("x" * 1_000_000)) == 60
    assert len(describe(["x" * 1_000_000] * 1_000, 20)) == 20
    cycle: list[Any] = []
    cycle.append(cycle)
    assert describe(cycle) == "[[[…]]]"
    assert type_name(Mute()) == "Mute"

    def exhausted(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(module, "_sketch", exhausted)
    assert describe(1) == "<unprintable>"
