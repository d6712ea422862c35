"""The colours and lines of a picture, light and dark.

Both are plain rules, without variables, since not everything that shows an SVG file knows these. Each selector begins
with the picture's own id: several pictures on one page don't disturb each other. A picture brings its ground along, so
that it can be read wherever it is put.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FONT_SIZE", "SMALL", "style"]

FONT_SIZE: Final = 13
SMALL: Final = 11

_PLAIN: Final = (
    f"text{{font:{FONT_SIZE}px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',Arial,"
    "sans-serif;text-anchor:middle}",
    f".e text{{font-size:{SMALL}px;text-anchor:start}}",
    f".m{{font-size:{SMALL}px}}",
    ".e path{fill:none;stroke-width:1.3}",
    ".d path{stroke-dasharray:5 4}",
    ".e .a,.d .a{stroke:none}",
    ".n>*{stroke-width:1.4}",
    ".n text{stroke:none}",
)
_PLAIN_MARKED: Final = (
    ".t path{stroke-width:2.6}",
    ".u{opacity:.75}",
    ".done>*,.active>*,.held>*,.failed>*,.cancelled>*{stroke-width:2.2}",
    ".r>*{fill:none;stroke-width:1.4}",
    ".n .g{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}",
    ".n .c{stroke:none}",
)

_Colours = dict[str, tuple[str, str]]

_LIGHT: Final = {"ground": "#fff", "text": "#1c2430", "label": "#46515f", "line": "#66748a", "taken": "#0b5fc4"}
_DARK: Final = {"ground": "#0d1117", "text": "#e6edf3", "label": "#b3becb", "line": "#8592a5", "taken": "#6cb0ff"}

_LIGHT_KINDS: Final[_Colours] = {
    ".activity": ("#f0f4fa", "#5a6f8a"),
    ".decision": ("#fff5dc", "#a86f12"),
    ".wait": ("#f3edff", "#7650c4"),
    ".subworkflow": ("#e4f5f5", "#1d7b85"),
    ".succeed": ("#e6f6eb", "#27824a"),
    ".fail": ("#fdecec", "#c03838"),
}
_DARK_KINDS: Final[_Colours] = {
    ".activity": ("#1b2430", "#8aa0bb"),
    ".decision": ("#2e2610", "#d9a441"),
    ".wait": ("#271f3b", "#ab8dea"),
    ".subworkflow": ("#10282b", "#4db3bd"),
    ".succeed": ("#12291b", "#4dbd77"),
    ".fail": ("#2f1719", "#f07878"),
}
_LIGHT_MARKS: Final[_Colours] = {
    ".u": ("#fff", "#8894a5"),
    ".done": ("#e6f6eb", "#27824a"),
    ".active": ("#e3efff", "#0b5fc4"),
    ".held": ("#fff5dc", "#a86f12"),
    ".failed": ("#fdecec", "#c03838"),
    ".cancelled": ("#eceff3", "#5d6775"),
}
_DARK_MARKS: Final[_Colours] = {
    ".u": ("#0d1117", "#77849a"),
    ".done": ("#12291b", "#4dbd77"),
    ".active": ("#10233d", "#6cb0ff"),
    ".held": ("#2e2610", "#d9a441"),
    ".failed": ("#2f1719", "#f07878"),
    ".cancelled": ("#21262e", "#9aa5b4"),
}


def style(id: str, *, is_marked: bool) -> str:
    """Return the style sheet of the picture with this id; with what only the picture of an execution needs."""
    rules = [*_PLAIN, *(_PLAIN_MARKED if is_marked else ())]
    light = _coloured(_LIGHT, _LIGHT_MARKS if is_marked else _LIGHT_KINDS, is_marked=is_marked)
    dark = _coloured(_DARK, _DARK_MARKS if is_marked else _DARK_KINDS, is_marked=is_marked)
    scoped = "".join(_scoped(id, rule) for rule in [*rules, *light])
    return f"{scoped}@media(prefers-color-scheme:dark){{{''.join(_scoped(id, rule) for rule in dark)}}}"


def _coloured(tones: dict[str, str], steps: _Colours, *, is_marked: bool) -> list[str]:
    rules = [
        f".b{{fill:{tones['ground']}}}",
        f"text{{fill:{tones['text']}}}",
        f".e text,.m{{fill:{tones['label']}}}",
        f".e path{{stroke:{tones['line']}}}",
        f".e .a,.s{{fill:{tones['line']}}}",
    ]
    rules += [f"{name}>*{{fill:{fill};stroke:{stroke}}}" for name, (fill, stroke) in steps.items()]
    # What is text or a sign within a step takes back what was said of outlines.
    rules += [f".n text{{fill:{tones['text']}}}", f".n .m{{fill:{tones['label']}}}"]
    if is_marked:
        rules += [f".t path{{stroke:{tones['taken']}}}", f".t .a{{fill:{tones['taken']}}}"]
        rules += [f".t text{{fill:{tones['text']}}}", f".n .g{{stroke:{tones['ground']}}}"]
        rules += [f"{name}>.c{{fill:{stroke}}}" for name, (_, stroke) in steps.items()]
        rules += [f"{name}>.r>*{{stroke:{stroke}}}" for name, (_, stroke) in steps.items()]
    return rules


def _scoped(id: str, rule: str) -> str:
    selectors, brace, body = rule.partition("{")
    return ",".join(f"#{id} {selector}" for selector in selectors.split(",")) + brace + body
