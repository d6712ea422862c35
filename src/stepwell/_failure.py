"""What a step raised, as a value that can be stored; and how any value is shown in a message.

Rule 1: nothing here raises, whatever the exception, its `__str__` or its metaclass does.
Rule 2: time and memory are bounded: chains and groups are counted and shown in part, text keeps its head and its tail.
Rule 3: no frame's locals are read, and the user information in URLs is taken out before a text is cut.
"""

from __future__ import annotations

import linecache
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from types import FrameType, FunctionType, TracebackType
from typing import Any, Final, TypeVar, cast, final
from uuid import UUID

import msgspec

_T = TypeVar("_T")

_ERROR_LIMIT: Final = 64 * 1024
_MESSAGE: Final = 8_000
_TRACEBACK: Final = 16_000
_NOTE: Final = 1_000
_NAME: Final = 200
_SLACK: Final = 2_000  # read beyond a cut and thrown away, so that a cut never splits what is redacted

_FRAMES_AT_ENDS: Final = (8, 20)
_CHAIN_AT_ENDS: Final = (5, 3)
_NOTES: Final = 8
_MEMBERS: Final = 8
_CHAIN_WALKED: Final = 100_000

_LIBRARY: Final = f"{PurePath(__file__).parent}/"
_SECRET: Final = re.compile(
    r"(?<=://)(?:[^\s/?#]{0,512}@|[^\s/?#@:]{0,512}:(?!\d{1,5}(?:[/?#\s]|\Z))\S{0,512}@)"
    r"|(?i:(?<![a-z])(?P<name>(?:ssl|pg)?(?:password|passwd|pwd)=(?!=)))"
    r"""(?:'(?:[^'\\]|\\.){0,512}'?|"(?:[^"\\]|\\.){0,512}"?|[^\s&;,'")]{1,512})"""
)
"""The user information of a URL; and what follows `password=`, as in a DSN of pairs or in the query of a URL."""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an attempt or an execution failed: bounded, escaped, free of secrets in URLs; never an exception object.

    Attributes:
        type: The class of the exception, with its module unless that is `builtins`.
        message: What the exception says.
        code: What kind of failure it is: `error`, `timeout`, `unknown_route`, `payload`, `crashed`, …
        traceback: Where it was raised; the library's own frames before the user's are left out.
        notes: What `add_note` added.
        causes: The members of a group, and the exception that this one was raised from or in the course of.
    """

    type: str
    message: str
    code: str = "error"
    traceback: str = ""
    notes: tuple[str, ...] = ()
    causes: tuple[Failure, ...] = ()

    @property
    def summary(self) -> str:
        """`Type: message` on one line of at most 200 characters."""
        head = self.message[: _NAME * 2]
        return shorten(" ".join(f"{self.type}: {head}".split()) if head else self.type, _NAME)


def failure_of(error: BaseException, *, code: str = "error", limit: int = _ERROR_LIMIT) -> Failure:
    """Return the failure that tells of *error* in at most *limit* bytes of JSON; never raises.

    Whatever the exception's own code raises meanwhile is swallowed, even `SystemExit`: it says nothing about how the
    attempt ended. A limit below 1,024 bytes counts as 1,024.
    """
    code = shorten(escaped(code), _NAME)
    try:
        return _fitted(_chained(error, _Room(), code), max(limit, 1024))
    except BaseException:  # memory or stack ran out while the failure was written down
        return Failure(type=_name_of_type(type(error)), message="<the details can't be shown>", code=code)


def describe(value: object, limit: int = 60) -> str:
    """Return *value* as it may stand in a message: one escaped line of at most *limit* characters; never raises.

    Runs no code of the value's own class: what is not plain data is shown as its type. Shows no secrets in DSNs.
    """
    try:
        return shorten(escaped(_sketch(value, 2, limit)), limit)
    except BaseException:  # memory or stack ran out; the message matters more
        return "<unprintable>"


def shorten(text: str, limit: int) -> str:
    """Return *text*, or its beginning and an ellipsis if it is longer than *limit* characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def escaped(text: str, keep: str = "") -> str:
    r"""Return *text* with what can't be printed or encoded written as `\x1b`, `\ud800`…, but what is in *keep* kept."""
    if text.isprintable():
        return text
    return "".join(
        char if char in keep or char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def redacted(text: str) -> str:
    """Return *text* without the secrets of the DSNs in it."""
    return _SECRET.sub(_without_secret, text)


def _without_secret(found: re.Match[str]) -> str:
    return "***@" if found["name"] is None else f"{found['name']}***"


def type_name(value: object) -> str:
    """Return the name of the value's class, without its module; never raises."""
    return _name_of_type(type(value)).rpartition(".")[2]


# --- what an exception holds ---------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class _Omitted:
    """Stands for what is left out between the ends of a chain or a traceback."""

    count: int


@dataclass(slots=True)
class _Room:
    """How many members of groups may still be told, over all groups; and how deep a group within a group."""

    members: int = 24
    levels: int = 3


def _chained(error: BaseException, room: _Room, code: str = "error") -> Failure:
    """Return the failure of *error* with what it was raised from; outer groups take their room before inner ones."""
    links = [_link(link, room) for link in _ends(_causes(error), *_CHAIN_AT_ENDS)]
    told = links.pop()
    while links:
        link = links.pop()
        told = msgspec.structs.replace(link, causes=(*link.causes, told))
    return msgspec.structs.replace(told, code=code)


def _link(error: BaseException | _Omitted, room: _Room) -> Failure:
    if type(error) is _Omitted:
        return Failure(type="…", message=f"{error.count:,} causes between are left out")
    return Failure(
        type=_name_of_type(type(error)),
        message=_said(error),
        traceback=_text_of_traceback(_slot(error, "__traceback__")),
        notes=_notes(error),
        causes=tuple(_members(error, room)),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error*, its cause, the cause of that…, each once."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _CHAIN_WALKED:
        seen.add(id(link))
        yield link
        cause = _slot(link, "__cause__")
        link = cause if cause is not None or _slot(link, "__suppress_context__") else _slot(link, "__context__")


def _members(error: BaseException, room: _Room) -> Iterator[Failure]:
    if not issubclass(type(error), BaseExceptionGroup):
        return
    members: tuple[BaseException, ...] = _slot(error, "exceptions", BaseExceptionGroup)
    shown = min(_MEMBERS, room.members) if room.levels else 0
    room.members -= shown
    room.levels -= 1
    for member in members[:shown]:
        yield _chained(member, room)
    room.levels += 1
    if len(members) > shown:
        yield Failure(type="…", message=f"{len(members) - shown:,} more exceptions of the group are left out")


def _slot(error: BaseException, name: str, owner: type = BaseException) -> Any:
    """Read an attribute as the interpreter set it, past whatever the class does with attributes."""
    return vars(owner)[name].__get__(error)


def _said(error: BaseException) -> str:
    try:
        return _clean(str.__str__(str(error)), _MESSAGE)
    except BaseException:  # whatever __str__ raises says nothing about the attempt
        return "<exception str() failed>"


def _notes(error: BaseException) -> tuple[str, ...]:
    try:
        notes: object = getattr(error, "__notes__", ())
    except BaseException:  # as above
        return ("<the notes can't be read>",)
    if type(notes) is not list and type(notes) is not tuple:
        return (describe(notes),)
    found = cast("Sequence[object]", notes)
    shown = [_clean(note, _NOTE) if type(note) is str else describe(note) for note in islice(found, _NOTES)]
    if len(found) > _NOTES:
        shown.append(f"… {len(found) - _NOTES:,} more notes …")
    return tuple(shown)


def _name_of_type(kind: type) -> str:
    """Return the name as the interpreter knows it: a metaclass can't hide it."""
    module: object = vars(type)["__module__"].__get__(kind)
    name: str = vars(type)["__qualname__"].__get__(kind)
    full = name if type(module) is not str or module == "builtins" else f"{module[:_NAME]}.{name[:_NAME]}"
    return shorten(escaped(full[: _NAME * 2]), _NAME)


# --- tracebacks ----------------------------------------------------------------------------------------------------


def _text_of_traceback(trace: TracebackType | None) -> str:
    lines: list[str] = []
    for frame in _ends(_frames(_past_library(trace)), *_FRAMES_AT_ENDS):
        if type(frame) is _Omitted:
            lines.append(f"  … {frame.count:,} frames …")
        else:
            lines += _lines_of_frame(*frame)
    return _clean("\n".join(lines), _TRACEBACK)


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _past_library(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the library's frames before the first one of somebody else's; none of them, if there is no other."""
    own = trace
    while own is not None and own.tb_frame.f_code.co_filename.startswith(_LIBRARY):
        own = own.tb_next
    return trace if own is None else own


def _lines_of_frame(frame: FrameType, number: int) -> Iterator[str]:
    code = frame.f_code
    yield f'  File "{escaped(code.co_filename[:_NAME])}", line {number}, in {escaped(code.co_name[:_NAME])}'
    try:
        source = linecache.getline(code.co_filename, number)
    except Exception:  # the file is gone or unreadable; the line's number is still told
        return
    if source.strip():
        yield f"    {source.strip()[:_NAME]}"


# --- making it fit -------------------------------------------------------------------------------------------------


def _ends(items: Iterable[_T], first: int, last: int) -> list[_T | _Omitted]:
    """Return the first and the last items, with the count of those left out between them."""
    walk = iter(items)
    head: list[_T | _Omitted] = [*islice(walk, first)]
    tail: deque[_T] = deque(maxlen=last)
    count = 0
    for item in walk:
        tail.append(item)
        count += 1
    return [*head, *([_Omitted(count - last)] if count > last else []), *tail]


def _clean(text: str, limit: int) -> str:
    """Take out secrets, escape, and cut to about *limit* characters with both ends kept: in this order."""
    if len(text) <= limit + 2 * _SLACK:
        return _cut(_presentable(text), limit)
    half = limit // 2
    head, tail = text[: half + _SLACK], text[-half - _SLACK :]
    # Neither end is cut within a secret: it is kept or left out as a whole, and none is longer than the slack.
    stop = max((found.end() for found in _SECRET.finditer(head) if found.start() < half), default=half)
    start = max((found.end() for found in _SECRET.finditer(tail) if found.start() < _SLACK), default=_SLACK)
    head, tail = _presentable(head[: max(stop, half)]), _presentable(tail[max(start, _SLACK) :])
    return _joined(head[:half], len(text) - limit, tail[-half:])


def _presentable(text: str) -> str:
    return escaped(redacted(text), "\n\t")


def _cut(text: str, limit: int) -> str:
    half = max(limit // 2, 4)
    return text if len(text) <= 2 * half else _joined(text[:half], len(text) - 2 * half, text[-half:])


def _joined(head: str, missing: int, tail: str) -> str:
    """Join both ends; a character counts as one byte, since counting exactly would copy what is cut."""
    if missing < 1_000:
        size = f"{missing} bytes"
    else:
        size = f"{missing / 1e3:.1f} kB" if missing < 1e6 else f"{missing / 1e6:.1f} MB"
    return f"{head}… {size} cut …{tail}"


def _fitted(failure: Failure, limit: int) -> Failure:
    """Return the failure in at most *limit* bytes: texts are halved, then notes, tracebacks and causes are left out."""
    allowance = _TRACEBACK
    while _size(failure) > limit and allowance > 60:
        allowance //= 2
        failure = _trimmed(failure, allowance)
    if _size(failure) > limit:
        failure = Failure(type=failure.type[:40], message=failure.message[:120], code=failure.code[:40])
    return failure


def _trimmed(failure: Failure, allowance: int) -> Failure:
    return Failure(
        type=failure.type,
        message=_cut(failure.message, allowance),
        code=failure.code,
        traceback=_cut(failure.traceback, allowance),
        notes=tuple(_cut(note, allowance // 4) for note in failure.notes),
        causes=tuple(_trimmed(cause, allowance // 2) for cause in failure.causes),
    )


def _size(failure: Failure) -> int:
    return len(msgspec.json.encode(failure))


# --- showing a value -----------------------------------------------------------------------------------------------

_SHOWN_ITEMS: Final = 4
_type_of = cast("Callable[[object], type[object]]", type)  # to type checkers, the type of an Any is unknown
_PLAIN: Final[frozenset[type]] = frozenset(
    {bool, float, complex, type(None), date, datetime, time, timedelta, Decimal, UUID, range}
)


def _sketch(value: Any, levels: int, limit: int) -> str:
    kind = _type_of(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is str:
        return repr(redacted(value[: limit + _SLACK])[:limit])
    if kind is bytes:
        return repr(redacted(value[: limit + _SLACK].decode("latin-1"))[:limit].encode("latin-1"))
    if kind is int:
        return (
            repr(value) if value.bit_length() < 256 else f"an int of about {int(value.bit_length() * 0.30103)} digits"
        )
    if kind is FunctionType:
        return f"<function {value.__qualname__[:_NAME]}>"
    bracket = _BRACKETS.get(kind)
    if bracket is None:
        return f"<{'class ' + _name_of_type(value) if issubclass(kind, type) else type_name(value) + ' object'}>"
    if levels == 0:
        return f"{bracket[0]}…{bracket[1]}"
    shown = [
        bracket[2](item, levels - 1, limit) for item in islice(value.items() if kind is dict else value, _SHOWN_ITEMS)
    ]
    more = ["…"] if len(value) > _SHOWN_ITEMS else []
    return f"{bracket[0]}{', '.join([*shown, *more])}{bracket[1]}"


def _sketch_pair(pair: Any, levels: int, limit: int) -> str:
    return f"{_sketch(pair[0], levels, limit)}: {_sketch(pair[1], levels, limit)}"


_BRACKETS: Final[dict[type, tuple[str, str, Callable[[Any, int, int], str]]]] = {
    dict: ("{", "}", _sketch_pair),
    list: ("[", "]", _sketch),
    tuple: ("(", ")", _sketch),
    set: ("{", "}", _sketch),
    frozenset: ("frozenset({", "})", _sketch),
}
