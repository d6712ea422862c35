"""Pictures of graphs: as SVG with a layout of our own, as Mermaid text, and for Graphviz. Pure, without dependencies.

The way of an SVG picture: `_sketch` measures the labels with `_text` and fits the outlines of `_shapes` around them.
`_layout` has `_layers`, `_order` and `_heights` put steps and edges into columns, has `_detours` lay lines for the
edges that go around these, and has `_columns`, `_ports` and `_wires` turn all into points. `_svg` writes them down,
with the colours of `_style`.
"""

from stepwell._picture._dot import dot
from stepwell._picture._mermaid import mermaid
from stepwell._picture._overlay import Mark, Overlay, StepMark
from stepwell._picture._svg import svg
from stepwell._picture._wording import NEXT

__all__ = ["NEXT", "Mark", "Overlay", "StepMark", "dot", "mermaid", "svg"]
