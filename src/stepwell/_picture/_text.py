"""Text in a picture: made harmless, measured, and broken into lines.

No font can be asked here, so widths are estimates that are meant to be too large rather than too small: those of the
widest of the common sans-serif fonts (DejaVu Sans and Verdana, whose letters are of one width). In a narrower font a
label just has more room around it.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

__all__ = ["Lines", "all_for_xml", "clean", "cut", "for_xml", "lines_of", "width"]

_ASCII: Final = (
    *(32, 40, 46, 84, 64, 96, 78, 28, 40, 40, 50, 84, 32, 37, 32, 34),
    *(64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84, 84, 84, 56),
    *(102, 69, 69, 73, 78, 67, 61, 78, 76, 30, 50, 67, 56, 87, 75, 79, 67, 79, 73, 67, 62, 74, 69, 99, 69, 67, 69),
    *(40, 34, 40, 84, 56, 50),
    *(62, 64, 55, 64, 62, 36, 64, 64, 28, 28, 58, 28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53),
    *(64, 34, 64, 84),
)
"""widths of the printable ASCII characters from the space on, in hundredths of the font's size"""
_NONE: Final = frozenset({"Mn", "Me", "Cf"})
_MARKS: Final = frozenset({"Mn", "Me", "Mc", "Cf"})
_BROAD: Final = 137
"""an emoji"""
_FULL: Final = 102
_OTHER: Final = 92
"""any other letter: few are wider"""
_SMALL: Final = 76
"""a small letter of Latin, Greek or Cyrillic beyond ASCII"""
_SEMITIC: Final = 70
_SCRIPTS: Final = (0x590, 0x700)
"""where Hebrew and Arabic begin, and where they end"""
_LIGATURES: Final = {0xFDFA: 240, 0xFDFB: 240, 0xFDFD: 1150}
_WIDTHS: Final = (0, _SEMITIC, _SMALL, _OTHER, _FULL, _BROAD, *sorted({*_LIGATURES.values()}))
"""all widths beyond ASCII: 8, so that each kind of character has 8 stand-ins"""
_SMALL_LETTER, _CAPITAL, _REST, _MARK, _JOINER, _CELL = range(0x80, 0xB0, 8)
"""where the stand-ins of a kind begin"""
_UNITS: Final = (*[0] * 32, *_ASCII, 0, *_WIDTHS * 6)
"""widths by stand-in; clean text has no character without a width of its own"""
_BYTES: Final = bytes([units % 256 for units in _UNITS]).ljust(256)
_TOO_WIDE: Final = _REST + _WIDTHS.index(max(_WIDTHS))
_JOINERS: Final = "\u200c\u200d"
_BREAKS: Final = " _-./:,;"
_KINDS: Final = (
    "".join(
        "b" if char in _BREAKS else "l" if char.islower() else "u" if char.isupper() else "o"
        for char in map(chr, range(0x80))
    )
    + "".join(kind * 8 for kind in "luoojc").ljust(0x80)
).encode()
"""of each stand-in: a break (b), a letter, lower (l) or upper (u), a joiner (j), a cell (c), or something other (o)"""
_ALIKE: Final = bytes.maketrans(b"luj", b"ooo")
_LONGEST: Final = 240
"""characters of a label that are drawn; the rest is in its title"""
_REMEMBERED: Final = 8192
"""characters beyond ASCII at most"""
_SHORT: Final = 40
"""characters that may well find room in one line"""

Lines = tuple[tuple[str, ...], int]
"""lines of text, and how wide the widest of them is at most, in pixels"""


def clean(text: str) -> str:
    """Return text as one line that can stand in any document: what can't be printed or steers others is replaced."""
    if text.isprintable():
        return text
    return "".join(map(_harmless, " ".join(text.splitlines())))


def _harmless(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    return " " if char == "\t" or unicodedata.category(char) == "Zs" else "\ufffd"


def cut(text: str, limit: int) -> str:
    """Return *text*, or its beginning and an ellipsis if it is longer than *limit* characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def for_xml(text: str) -> str:
    """Return clean text as it may stand in an element or in an attribute."""
    return _escaped(text if text.isprintable() else clean(text))


def all_for_xml(texts: Sequence[str]) -> list[str]:
    """Return clean texts, each as `for_xml` does: what must be replaced is sought in all of them at once."""
    return _escaped("\n".join([text if text.isprintable() else clean(text) for text in texts])).split("\n")


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    # The title of each edge has an arrow: one letter that doubles what all others take in memory, if they are Latin.
    return text.replace("→", "&#8594;")


def width(text: str, size: int) -> int:
    """Return how wide clean text is at most, in pixels, in a sans-serif font of *size* pixels."""
    return _pixels(sum(_units(_stand_ins(text))), size)


def _pixels(units: int, size: int) -> int:
    return -(-units * size // 100)


class _StandIns(dict[int, int]):
    """For each character that was seen another one, of one byte, that is as wide and of the same kind.

    So whatever is asked of a text is found for all of it in one call, not character by character.
    """

    def __missing__(self, code: int) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        char = chr(code)
        found = self[code] = code if code < 128 else _kind(char) + _WIDTHS.index(_width(char))
        return found


_SEEN: Final = _StandIns()


def _stand_ins(text: str) -> bytes:
    return text.encode() if text.isascii() else text.translate(_SEEN).encode("latin-1")


def _units(stand_ins: bytes) -> Iterable[int]:
    """Return the width of each character, in hundredths of the font's size."""
    if _TOO_WIDE in stand_ins:  # only the longest of ligatures has a width that no byte holds
        return map(_UNITS.__getitem__, stand_ins)
    return stand_ins.translate(_BYTES)


def _width(char: str) -> int:
    code = ord(char)
    if unicodedata.category(char) in _NONE:
        return 0
    if code >= 0x1F000 or 0x2600 <= code < 0x27C0:
        return _BROAD
    if code < _SCRIPTS[1]:
        return _SEMITIC if code >= _SCRIPTS[0] else _SMALL if char.islower() else _OTHER
    return _LIGATURES.get(code) or (_FULL if unicodedata.east_asian_width(char) in "WF" else _OTHER)


def _kind(char: str) -> int:
    code = ord(char)
    if char in _JOINERS:
        return _JOINER
    if unicodedata.category(char) in _MARKS or 0x1F3FB <= code <= 0x1F3FF:  # skin tones
        return _MARK
    if code > 0x1100 and (unicodedata.east_asian_width(char) in "WF" or code >= 0x1F000):
        return _CELL
    return _SMALL_LETTER if char.islower() else _CAPITAL if char.isupper() else _REST


def lines_of(text: str, size: int, room: int, most: int) -> Lines:
    """Break a label into at most *most* lines, about *room* pixels wide or as much wider as it takes.

    A line break in the text stays one. Else a line ends after a blank or a mark of punctuation, before a capital, and
    around a character that takes a full cell; in the middle of a word only if that is longer than a line.
    """
    # Most labels are short: they are done before anything is looked up or kept.
    if len(text) <= _SHORT and text.isprintable():
        line = text.strip() or " "
        across = width(line, size)
        if across <= room:
            return (line,), across
    return _broken(text, size, room, most)


@lru_cache(maxsize=4096)
def _broken(text: str, size: int, room: int, most: int) -> Lines:
    given = [clean(line).strip() for line in cut(text, _LONGEST).splitlines()]
    whole = [line for line in given if line]
    if not whole:
        return (" ",), width(" ", size)
    whole = [*whole[: most - 1], " ".join(whole[most - 1 :])] if len(whole) > most else whole
    breakers = [_Breaker(line, size) for line in whole]
    # A room that doesn't hold all that is printed isn't worth a try.
    ink = sum([breaker.ink for breaker in breakers])
    while ink > most * room:
        room += room // 5 + 1
    while sum(map(len, filled := [breaker.filled(room) for breaker in breakers])) > most:
        room += room // 5 + 1
    lines: list[str] = []
    widest = 0
    for breaker, begins in zip(breakers, filled, strict=True):
        found, across = breaker.lines(breaker.balanced(begins, room) if len(begins) > 1 else begins)
        lines += found
        widest = max(widest, across)
    return tuple(lines), widest


class _Breaker:
    """Breaks one text into lines: it is measured once, and then the end of each line is found by bisection.

    The text is clean and neither begins nor ends with a blank.
    """

    def __init__(self, text: str, size: int) -> None:
        self.text = text
        self.size = size
        self.stand_ins = stand_ins = _stand_ins(text)
        self.before = [0, *accumulate(_units(stand_ins))]
        """how wide all is before each character, in hundredths of the font's size"""
        self.width = _pixels(self.before[-1], size)
        self.ink = self.width - _pixels(text.count(" ") * _ASCII[0], size)
        """how wide all is without the blanks"""
        # A word begins with a cell that isn't joined to what is before, with a capital after a small letter, and with
        # whatever comes after a break.
        kinds = stand_ins.translate(_KINDS).replace(b"jc", b"jo").replace(b"c", b"S").replace(b"lu", b"lS")
        self.starts = kinds.translate(_ALIKE).replace(b"bo", b"bS")
        """an S where a word begins, but for the first"""

    def lines(self, begins: list[int]) -> Lines:
        """Return the lines that begin at these places."""
        text, before = self.text, self.before
        lines: list[str] = []
        widest = 0
        for begin, after in pairwise([*begins, len(text)]):
            line = text[begin:after].rstrip()
            lines.append(line)
            widest = max(widest, before[begin + len(line)] - before[begin])
        return tuple(lines), _pixels(widest, self.size)

    def balanced(self, begins: list[int], room: int) -> list[int]:
        """Return where lines begin if they are as many, but about equally long."""
        # The narrowest room of these that will do is found by bisection.
        rooms = range(self.width // len(begins), room, self.size // 2)
        low, high = 0, len(rooms)
        while low < high:
            middle = (low + high) // 2
            even = self.filled(rooms[middle])
            if len(even) > len(begins):
                low = middle + 1
            else:
                begins, high = even, middle
        return begins

    def filled(self, room: int) -> list[int]:
        """Return where each line begins if lines are as few as can be."""
        limit = room * 100 // self.size
        text, before, starts = self.text, self.before, self.starts
        last, full = len(text) - 1, before[-1] - limit
        begins = [0]
        begin = 0
        while before[begin] < full and begin < last:
            end = after = bisect_right(before, before[begin] + limit, begin) - 1
            while text[after] == " ":  # what is blank takes no room at the end of a line
                after += 1
            begin = max(starts.rfind(b"S", begin + 1, after + 1), 0) or self.head(begin, end)
            begins.append(begin)
        return begins

    def head(self, begin: int, end: int) -> int:
        """Return where a line ends that is all one word: it has one character at least, and tears none off its base."""
        end = max(end, begin + 1)
        while begin + 1 < end and self.is_joined(end):
            end -= 1
        return end

    def is_joined(self, place: int) -> bool:
        """Tell whether a character is drawn as one with that before it: a mark, a skin tone, what a joiner joins."""
        before, after = self.stand_ins[place - 1 : place + 1]
        return _JOINER <= before < _CELL or _MARK <= after < _CELL
