"""The outline of each kind of step: how large it is around its text, and where its border lies."""

from __future__ import annotations

from math import isqrt
from typing import Final, NamedTuple

from stepwell._graph import StepKind

__all__ = ["Block", "block_around", "inset", "outline"]

_PADDING: Final = {
    StepKind.ACTIVITY: (28, 18),
    StepKind.DECISION: (8, 0),
    StepKind.WAIT: (40, 18),
    StepKind.SUBWORKFLOW: (40, 18),
    StepKind.SUCCEED: (34, 18),
    StepKind.FAIL: (34, 18),
}
_POINT: Final = 11
"""how far the sides of a hexagon stand out"""
_CORNER: Final = 9
"""what is cut off an octagon's corners"""
_ROUND: Final = 20


class Block(NamedTuple):
    """A step's outline, in pixels."""

    kind: StepKind
    width: int
    height: int

    @property
    def reach(self) -> int:
        """How far above and below its middle edges may end at its side."""
        return self.height // (4 if self.kind is StepKind.DECISION else 2) - 5


def block_around(kind: StepKind, width: int, height: int) -> Block:
    """Return the outline that holds a text of this size; width and height of the outline are even."""
    across, down = _PADDING[kind]
    if kind is StepKind.DECISION:  # a rectangle is within a rhombus if its parts of width and height add up to 1
        tall = 2 * height + 14
        return Block(kind, _even((width + across) * tall // (tall - height) + 1), _even(tall))
    return Block(kind, _even(max(width + across, 44)), _even(height + down))


def _even(number: int) -> int:
    return number + number % 2


def inset(block: Block, off: int) -> int:
    """Return how far inside its left or right end the border lies, *off* pixels above or below the middle."""
    half = block.height // 2
    off = min(abs(off), half)
    match block.kind:
        case StepKind.DECISION:
            return block.width * off // block.height
        case StepKind.WAIT:
            return _POINT * off // half
        case StepKind.FAIL:
            return max(0, off - half + _CORNER)
        case StepKind.SUCCEED:
            radius = min(half, _ROUND)
            beyond = max(0, off - half + radius)
            return radius - isqrt(radius * radius - beyond * beyond)
        case _:
            return 0


def outline(block: Block, x: int, y: int) -> str:
    """Return the SVG element of a block whose upper left corner is at a point."""
    width, height = block.width, block.height
    match block.kind:
        case StepKind.DECISION:
            across, down = width // 2, height // 2
            return f'<path d="M{x} {y + down}l{across} {-down} {across} {down} {-across} {down}z"/>'
        case StepKind.WAIT:
            top, half = width - 2 * _POINT, height // 2
            return f'<path d="M{x} {y + half}l{_POINT} {-half}h{top}l{_POINT} {half} {-_POINT} {half}h{-top}z"/>'
        case StepKind.FAIL:
            across, down = width - 2 * _CORNER, height - 2 * _CORNER
            return (
                f'<path d="M{x + _CORNER} {y}h{across}l{_CORNER} {_CORNER}v{down}l{-_CORNER} {_CORNER}'
                f'h{-across}l{-_CORNER} {-_CORNER}v{-down}z"/>'
            )
        case StepKind.SUBWORKFLOW:
            return f'{_rect(block, x, y, 2)}<path d="M{x + 7} {y}v{height}M{x + width - 7} {y}v{height}"/>'
        case StepKind.SUCCEED:
            return _rect(block, x, y, min(height // 2, _ROUND))
        case _:
            return _rect(block, x, y, 5)


def _rect(block: Block, x: int, y: int, radius: int) -> str:
    return f'<rect x="{x}" y="{y}" width="{block.width}" height="{block.height}" rx="{radius}"/>'
