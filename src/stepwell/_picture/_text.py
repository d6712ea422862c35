"""Text in a picture: made harmless, measured, and broken into lines.

No font can be asked here, so widths are estimates that are meant to be too large rather than too small: those of the
widest of the common sans-serif fonts (DejaVu Sans and Verdana, whose letters are of one width). In a narrower font a
label just has more room around it.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
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
    text = clean(text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@lru_cache(maxsize=8192)
def width(text: str, size: int) -> int:
    """Return how wide clean text is at most, in pixels, in a sans-serif font of *size* pixels."""
    return -(-sum(map(_width, text)) * size // 100)


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
    while True:
        lines = [line for one in whole for line in _balanced(one, size, room)]
        if len(lines) <= most:
            return tuple(lines)
        room += room // 5 + 1


def _balanced(text: str, size: int, room: int) -> list[str]:
    """Fill as few lines as can be, and then make them about equally long."""
    lines = _filled(text, size, room)
    if len(lines) == 1:
        return lines
    narrow = max(width(text, size) // len(lines), 1)
    while narrow < room:
        even = _filled(text, size, narrow)
        if len(even) <= len(lines):
            return even
        narrow += size // 2
    return lines


def _filled(text: str, size: int, room: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in _words(text):
        if line and width((line + word).rstrip(), size) > room:
            lines.append(line.rstrip())
            line = ""
        line += word
        while width(line.rstrip(), size) > room and (head := _head(line, size, room)) < len(line):
            lines.append(line[:head])
            line = line[head:]
    rest = line.rstrip()
    return [*lines, rest or " "] if rest or not lines else lines


@lru_cache(maxsize=512)
def _words(text: str) -> tuple[str, ...]:
    """Return the text in pieces between which a line may end."""
    words: list[str] = []
    begin = 0
    for place in range(1, len(text)):
        before, after = text[place - 1], text[place]
        is_end = before in _BREAKS and after not in _BREAKS
        if is_end or (before.islower() and after.isupper()) or (_is_cell(after) and not _is_joined(before, after)):
            words.append(text[begin:place])
            begin = place
    return (*words, text[begin:])


def _head(line: str, size: int, room: int) -> int:
    """Return how many characters of a line that is all one word fit, at least one, none torn off what it belongs to."""
    length = 1
    while length < len(line) and width(line[: length + 1], size) <= room:
        length += 1
    while length > 1 and length < len(line) and _is_joined(line[length - 1], line[length]):
        length -= 1
    return length


def _is_cell(char: str) -> bool:
    return ord(char) > 0x1100 and (unicodedata.east_asian_width(char) in "WF" or ord(char) >= 0x1F000)


def _is_joined(before: str, after: str) -> bool:
    """Tell whether two characters are drawn as one: a mark, a variant, a skin tone, what a joiner joins."""
    return (
        before in _JOINERS
        or unicodedata.category(after) in {"Mn", "Me", "Mc", "Cf"}
        or 0x1F3FB <= ord(after) <= 0x1F3FF
    )
