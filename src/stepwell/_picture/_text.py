"""Text in a picture: made harmless, measured, and broken into lines.

No font can be asked here, so widths are estimates that are meant to be too large rather than too small: those of the
widest of the common sans-serif fonts (DejaVu Sans and Verdana, whose letters are of one width). In a narrower font a
label just has more room around it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

__all__ = ["clean", "cut", "for_xml", "lines_of", "width"]

_ASCII: Final = (
    *(32, 40, 46, 84, 64, 96, 78, 28, 40, 40, 50, 84, 32, 37, 32, 34),
    *(64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84, 84, 84, 56),
    *(102, 69, 69, 73, 78, 67, 61, 78, 76, 30, 50, 67, 56, 87, 75, 79, 67, 79, 73, 67, 62, 74, 69, 99, 69, 67, 69),
    *(40, 34, 40, 84, 56, 50),
    *(62, 64, 55, 64, 62, 36, 64, 64, 28, 28, 58, 28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53),
    *(64, 34, 64, 84),
)
"""widths of the printable ASCII characters from the space on, in hundredths of the font's size"""
_ASCII_UNITS: Final = (*[0] * 32, *_ASCII, 0)
"""the same by code; clean text has no character without a width of its own"""
_NONE: Final = frozenset({"Mn", "Me", "Cf"})
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
_JOINERS: Final = "\u200c\u200d"
_BREAKS: Final = frozenset(" _-./:,;")
_WORDS: Final = re.compile(r"[^ _./:,;-]+?(?:[ _./:,;-]++|(?<=[a-z])(?=[A-Z])|\Z)|[ _./:,;-]++")
"""the words of ASCII text"""
_LONGEST: Final = 240
"""characters of a label that are drawn; the rest is in its title"""


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
    text = text if text.isprintable() else clean(text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@lru_cache(maxsize=8192)
def width(text: str, size: int) -> int:
    """Return how wide clean text is at most, in pixels, in a sans-serif font of *size* pixels."""
    return -(-sum(_units(text)) * size // 100)


def _units(text: str) -> Iterable[int]:
    """Return the width of each character, in hundredths of the font's size."""
    # Most text is ASCII, and then its bytes are looked up without a call of Python for each.
    return map(_ASCII_UNITS.__getitem__, text.encode()) if text.isascii() else map(_width, text)


@lru_cache(maxsize=2048)
def _width(char: str) -> int:
    code = ord(char)
    if code < 127:
        return _ASCII[code - 32]
    if unicodedata.category(char) in _NONE:
        return 0
    if code >= 0x1F000 or 0x2600 <= code < 0x27C0:
        return _BROAD
    if code < _SCRIPTS[1]:
        return _SEMITIC if code >= _SCRIPTS[0] else _SMALL if char.islower() else _OTHER
    return _LIGATURES.get(code) or (_FULL if unicodedata.east_asian_width(char) in "WF" else _OTHER)


@lru_cache(maxsize=4096)
def lines_of(text: str, size: int, room: int, most: int) -> tuple[str, ...]:
    """Break a label into at most *most* lines, about *room* pixels wide or as much wider as it takes.

    A line break in the text stays one. Else a line ends after a blank or a mark of punctuation, before a capital, and
    around a character that takes a full cell; in the middle of a word only if that is longer than a line.
    """
    given = [clean(line).strip() for line in cut(text, _LONGEST).splitlines()]
    whole = [line for line in given if line] or [" "]
    if len(whole) == 1 and width(whole[0], size) <= room:
        return (whole[0],)
    whole = [*whole[: most - 1], " ".join(whole[most - 1 :])] if len(whole) > most else whole
    breakers = [_Breaker(line, size) for line in whole]
    while sum([breaker.count(room) for breaker in breakers]) > most:
        room += room // 5 + 1
    return tuple([line for breaker in breakers for line in breaker.balanced(room)])


class _Breaker:
    """Breaks one text into lines: it is measured once, and then each line is found by bisection."""

    def __init__(self, text: str, size: int) -> None:
        self.text = text
        self.size = size
        self.before = [0, *accumulate(_units(text))]
        """how wide all is before each character, in hundredths of the font's size"""
        self.width = -(-self.before[-1] * size // 100)
        words = _words(text)
        self.afters = list(accumulate(map(len, words)))
        """where each word ends, with the blanks that follow it"""
        self.starts = [0, *self.afters[:-1]]
        lengths = map(len, map(str.rstrip, words))
        self.ends = [self.before[start + length] for start, length in zip(self.starts, lengths, strict=True)]
        """how wide all is up to the end of each word, without the blanks that follow it"""

    def count(self, room: int) -> int:
        """Return how many lines it takes."""
        return len(self.filled(room))

    def balanced(self, room: int) -> list[str]:
        """Fill as few lines as can be, and then make them about equally long."""
        lines = self.filled(room)
        if len(lines) > 1:
            narrow = max(self.width // len(lines), 1)
            tries = map(self.filled, range(narrow, room, self.size // 2))
            lines = next((even for even in tries if len(even) <= len(lines)), lines)
        return [self.text[begin:after].rstrip() or " " for begin, after in pairwise([*lines, len(self.text)])]

    def filled(self, room: int) -> list[int]:
        """Return where each line begins."""
        limit = room * 100 // self.size
        before, starts, ends = self.before, self.starts, self.ends
        lines = [0]
        word = 0
        while (word := bisect_right(ends, before[lines[-1]] + limit, word)) < len(ends):
            # This word doesn't fit any more: it begins a line, and is broken if it is longer than that.
            if starts[word] > lines[-1]:
                lines.append(starts[word])
            elif (head := self.head(lines[-1], limit)) < self.afters[word]:
                lines.append(head)
            else:  # nor can it be broken
                word += 1
                lines += starts[word : word + 1]
        return lines

    def head(self, begin: int, limit: int) -> int:
        """Return where a line ends that is all one word: it has one character at least, and tears none off its base."""
        text = self.text
        end = max(bisect_right(self.before, self.before[begin] + limit, begin) - 1, begin + 1)
        while begin + 1 < end < len(text) and _is_joined(text[end - 1], text[end]):
            end -= 1
        return end


def _words(text: str) -> list[str]:
    """Return the text in pieces between which a line may end."""
    if text.isascii():
        return _WORDS.findall(text)
    words: list[str] = []
    begin = 0
    for place, (before, after) in enumerate(pairwise(text), 1):
        is_end = before in _BREAKS and after not in _BREAKS
        if is_end or (before.islower() and after.isupper()) or (_is_cell(after) and not _is_joined(before, after)):
            words.append(text[begin:place])
            begin = place
    return [*words, text[begin:]]


def _is_cell(char: str) -> bool:
    return ord(char) > 0x1100 and (unicodedata.east_asian_width(char) in "WF" or ord(char) >= 0x1F000)


def _is_joined(before: str, after: str) -> bool:
    """Tell whether two characters are drawn as one: a mark, a variant, a skin tone, what a joiner joins."""
    return (
        before in _JOINERS
        or unicodedata.category(after) in {"Mn", "Me", "Mc", "Cf"}
        or 0x1F3FB <= ord(after) <= 0x1F3FF
    )
