"""Random graphs: whatever they look like, their pictures can be read, and nothing in them is markup."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any
from xml.etree.ElementTree import Element

from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell._definition import Workflow
from stepwell._graph import Graph
from stepwell._picture import Mark, Overlay, StepMark, dot, svg
from stepwell._picture._sketch import sketched
from tests.support.graphs import workflows
from tests.support.pictures import SVG, check_layout, edges_of, graphs, nodes_of, parsed

thorough = settings(max_examples=120, deadline=None, derandomize="CI" in os.environ)
_ALLOWED = {"svg", "title", "desc", "style", "rect", "circle", "path", "g", "text"}


@st.composite
def overlays(draw: Any, graph: Graph) -> Overlay:
    marks = st.builds(
        StepMark,
        st.sampled_from(Mark),
        st.sampled_from(["", "running · attempt 12"]),
        st.text(max_size=20),
        st.booleans(),
    )
    steps = {node.name: draw(marks) for node in graph.nodes if draw(st.booleans())}
    return Overlay(
        draw(st.text(max_size=20)), steps, {(e.source, e.label): draw(st.integers(0, 3)) for e in graph.edges}
    )


@thorough
@given(graph=graphs(), data=st.data())
def test_nothing_overlaps(graph: Graph, data: st.DataObject) -> None:
    overlay = data.draw(st.one_of(st.none(), overlays(graph)))
    check_layout(sketched(graph, overlay))


@thorough
@given(workflow=workflows())
def test_nothing_overlaps_in_a_workflow(workflow: Workflow[Any, Any]) -> None:
    check_layout(sketched(workflow.graph, None))


@thorough
@given(graph=graphs(), data=st.data())
def test_everything_is_drawn_once_and_nothing_else(graph: Graph, data: st.DataObject) -> None:
    overlay = data.draw(st.one_of(st.none(), overlays(graph)))
    text = svg(graph, overlay)
    assert text == svg(graph, overlay)
    root = parsed(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= _ALLOWED
    assert all(not name.startswith("on") and "href" not in name for e in root.iter() for name in e.attrib)
    assert len(nodes_of(root)) == len(graph.nodes)
    assert Counter(map(_ends, edges_of(root))) == Counter(f"{edge.source} → {edge.target}" for edge in graph.edges)
    assert text.encode().decode() == text


def _ends(group: Element) -> str:
    return group.findtext(f"{SVG}title", "").partition(":")[0]


@thorough
@given(graph=graphs())
def test_no_label_adds_to_the_text_for_graphviz(graph: Graph) -> None:
    lines = dot(graph).split("\n")
    assert len(lines) == 6 + len(graph.nodes) + len(graph.edges)
    for line in lines:
        quotes = line.replace("\\\\", "").replace('\\"', "")
        assert quotes.count('"') % 2 == 0
        assert line.isprintable()
