"""The three formats: what is written, and that nothing of a user is markup in any of them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._graph import Graph, GraphEdge, GraphNode, StepKind
from stepwell._picture import Mark, Overlay, StepMark, dot, mermaid, svg
from stepwell._retry import Retry
from tests.support.pictures import SVG, edges_of, graph_of, nodes_of, parsed
from tests.unit.test_graph import make


def test_mermaid_draws_every_kind_and_every_edge() -> None:
    assert format(make(), "mermaid") == (
        "flowchart TD\n"
        "    start(( )) --> s1\n"
        '    s1["Load #34;the#34; order"]\n'
        '    s2{"route"}\n'
        '    s3>"failed"]\n'
        '    s4{{"approval"}}\n'
        '    s5[["sub"]]\n'
        '    s6(["done"])\n'
        "    s1 --> s2\n"
        '    s1 -.->|"catch CardDeclinedError"| s3\n'
        '    s2 -->|"again"| s1\n'
        '    s2 -->|"on"| s4\n'
        '    s4 -->|"yes"| s5\n'
        '    s4 -.->|"timeout"| s3\n'
        '    s5 -->|"succeeded"| s6\n'
        '    s5 -.->|"failed"| s3\n'
        '    s5 -.->|"cancelled"| s3\n'
    )


def drawn(label: str) -> str:
    node = GraphNode("a", StepKind.SUCCEED, label, "", None, None, 1)
    return mermaid(Graph("w", "1", "w", "", "a", (node,), ()))


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ('say "hi"', "say #34;hi#34;"),
        ("a]b)c}", "a#93;b#41;c#125;"),
        ("one\ntwo\r\nthree", "one<br>two<br>three"),
        ("<script>&amp;", "#60;script#62;#38;amp#59;"),
        ("%%{init: x}%%", "#37;#37;#123;init: x#125;#37;#37;"),
        ("`md` #35;", "#96;md#96; #35;35#59;"),
        ("bell\a rtl\u202e", "bell\ufffd rtl\ufffd"),
        ("Prüfung 審査", "Prüfung 審査"),
        ("", " "),
    ],
)
def test_mermaid_escapes_labels(label: str, text: str) -> None:
    assert f's1(["{text}"])' in drawn(label)


@given(st.text())
def test_no_label_adds_to_a_drawing(label: str) -> None:
    lines = drawn(label).split("\n")
    assert len(lines) == 4
    assert re.fullmatch(r'    s1\(\["[^"]*"\]\)', lines[2])
    assert all(line.isprintable() for line in lines)


def test_an_unknown_format_is_an_error_that_tells_what_there_is() -> None:
    with pytest.raises(ValueError, match="no format 'png'; there is 'dot', 'mermaid', 'svg'"):
        format(make(), "png")


def test_dot_draws_every_kind_and_every_edge() -> None:
    assert format(make(), "dot") == (
        'digraph "all" {\n'
        '    rankdir=LR; node [fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=11];\n'
        '    start [shape=point, width=0.15, label=""];\n'
        '    s1 [label="Load \\"the\\" order", shape=box, style=rounded];\n'
        '    s2 [label="route", shape=diamond];\n'
        '    s3 [label="failed", shape=octagon];\n'
        '    s4 [label="approval", shape=hexagon];\n'
        '    s5 [label="sub", shape=box, peripheries=2];\n'
        '    s6 [label="done", shape=oval];\n'
        "    start -> s1;\n"
        "    s1 -> s2;\n"
        '    s1 -> s3 [label="catch CardDeclinedError", style=dashed];\n'
        '    s2 -> s1 [label="again"];\n'
        '    s2 -> s4 [label="on"];\n'
        '    s4 -> s5 [label="yes"];\n'
        '    s4 -> s3 [label="timeout", style=dashed];\n'
        '    s5 -> s6 [label="succeeded"];\n'
        '    s5 -> s3 [label="failed", style=dashed];\n'
        '    s5 -> s3 [label="cancelled", style=dashed];\n'
        "}\n"
    )


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ('say "hi"', r"say \"hi\""),
        ("back\\N slash", r"back\\N slash"),
        ("one\ntwo", r"one\ntwo"),
        ("&lt; <b>", "&amp;lt; &lt;b&gt;"),
        ("bell\a", "bell\ufffd"),
        ("", " "),
    ],
)
def test_dot_escapes_labels(label: str, text: str) -> None:
    assert f's1 [label="{text}", shape=oval];' in dot(graph_of("a:y", [], label=label) if label else labelled(""))


def labelled(label: str) -> Graph:
    return Graph("w", "1", "w", "", "a", (GraphNode("a", StepKind.SUCCEED, label, "", None, None, 1),), ())


class TestSvg:
    def test_every_step_and_every_edge_is_there_with_a_title(self) -> None:
        root = parsed(format(make(), "svg"))
        titles = [group.findtext(f"{SVG}title") for group in [*edges_of(root), *nodes_of(root)]]
        assert titles == [
            "load → route: next",
            "load → failed: catch:CardDeclinedError",
            "route → load: again",
            "route → approval: on",
            "approval → sub: yes",
            "approval → failed: timeout",
            "sub → done: succeeded",
            "sub → failed: failed",
            "sub → failed: cancelled",
            'Load "the" order [load] (activity) · from the shop · up to 3 attempts · timeout 30 s',
            "route (decision) · up to 3 visits",
            "failed (fail)",
            "approval (wait) · timeout 60 s",
            "sub (subworkflow)",
            "done (succeed)",
        ]

    def test_every_edge_has_its_own_label_in_one_line_or_more(self) -> None:
        long = "the manual approval of the deputy is outstanding <now>"
        edges = ["a b yes", f"a b {long}", "b b again", "b c next", f"c a {long} & again", "c d no"]
        root = parsed(svg(graph_of("a:d b:w c:d d:y", edges)))
        labels = [" ".join(text.text or "" for text in group.iter(f"{SVG}text")) for group in edges_of(root)]
        assert labels == [edge.split(maxsplit=2)[2] for edge in edges]
        root = parsed(svg(graph_of("a:a b:a c:y", ["a b next", f"a c {long}", "b c next"])))
        labels = [" ".join(text.text or "" for text in group.iter(f"{SVG}text")) for group in edges_of(root)]
        assert labels == ["", long, ""]

    def test_what_goes_wrong_is_dashed(self) -> None:
        root = parsed(format(make(), "svg"))
        assert [group.get("class") for group in edges_of(root)] == ["e", "e d", "e", "e", "e", "e d", "e", "e d", "e d"]

    def test_the_whole_has_a_title_a_description_and_a_role(self) -> None:
        root = parsed(format(make(label="All & more", description="every kind"), "svg"))
        assert root.get("role") == "img"
        by_id = {element.get("id"): element.text for element in root.iter() if element.get("id")}
        assert by_id[root.get("aria-labelledby")] == "Workflow All & more, version 1"
        assert by_id[root.get("aria-describedby")] == "every kind 6 steps, from load."

    def test_each_rule_of_the_style_is_for_this_picture_alone(self) -> None:
        root = parsed(format(make(), "svg"))
        id = root.get("id")
        style = root.findtext(f"{SVG}style", "")
        assert "@media(prefers-color-scheme:dark){" in style
        rules = style.replace("@media(prefers-color-scheme:dark){", "").split("}")
        selectors = [one for rule in rules if "{" in rule for one in rule.partition("{")[0].split(",")]
        assert selectors
        assert all(selector.startswith(f"#{id} ") for selector in selectors)

    def test_another_graph_has_another_id(self) -> None:
        ids = {parsed(svg(graph_of(steps, []))).get("id") for steps in ("a:y", "b:y", "a:n")}
        assert len(ids) == 3

    def test_it_refers_to_nothing_outside(self) -> None:
        text = format(make(), "svg")
        assert text.count("http") == 1
        assert "url(" not in text
        assert "@import" not in text
        assert "<script" not in text

    @pytest.mark.parametrize(
        "label",
        ["</text><script>alert(1)</script>", "]]>", '" onload="x', "\0\x1b[31m", "\ud800", "&#0;", "<!--", "a\nb"],
    )
    def test_no_text_of_a_user_is_markup(self, label: str) -> None:
        node = GraphNode("a", StepKind.FAIL, label, label, None, None, 1)
        edges = (GraphEdge("a", "a", label),)
        overlay = Overlay(label, {"a": StepMark(Mark.FAILED, label, label, is_current=True)}, {("a", label): 2})
        for shown in (None, overlay):
            text = svg(Graph(label, label, label, label, "a", (node,), edges), shown)
            root = parsed(text)
            assert {element.tag for element in root.iter()} <= {
                f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "circle", "g", "path", "text")
            }
            assert "onload" not in {name for element in root.iter() for name in element.attrib}
            assert text.encode()

    def test_a_workflow_shows_itself_in_a_notebook(self) -> None:
        assert make()._repr_svg_() == format(make(), "svg")

    def test_corners_are_round_and_lines_straight(self) -> None:
        root = parsed(svg(graph_of("a:a b:d c:y", ["a b next", "b a again", "b c on"])))
        straight, back, _ = (group.findall(f"{SVG}path")[0].get("d", "") for group in edges_of(root))
        assert re.fullmatch(r"M\d+ \d+H\d+", straight)
        assert back.count("q") == 4
        assert back.count("C") == 1

    def test_a_mark_is_a_sign_a_note_and_a_title(self) -> None:
        graph = graph_of("a:a b:d c:y", ["a b next", "b c on"])
        steps = {
            "a": StepMark(Mark.FAILED, "2 attempts", "failed · KeyError: x", is_current=False),
            "b": StepMark(Mark.ACTIVE, "", "running", is_current=True),
        }
        root = parsed(svg(graph, Overlay("It runs.", steps, {("a", "next"): 3})))
        first, second, third = nodes_of(root)
        assert [group.get("class") for group in (first, second, third)] == ["n failed", "n active", "n u"]
        assert [text.text for text in first.iter(f"{SVG}text")] == ["a", "2 attempts"]
        assert first.findtext(f"{SVG}title") == "a (activity) · failed · KeyError: x"
        assert [len(list(group.iter(f"{SVG}circle"))) for group in (first, second, third)] == [1, 1, 0]
        assert [len(group.findall(f"{SVG}g")) for group in (first, second, third)] == [0, 1, 0]
        on, taken = edges_of(root)
        assert (on.get("class"), taken.get("class")) == ("e", "e t")
        assert taken.findtext(f"{SVG}title") == "a → b: next, taken 3 times"
        assert taken.findtext(f"{SVG}text") == "\u00d73"
        assert "It runs." in root.findtext(f"{SVG}desc", "")

    def test_each_mark_has_a_sign_of_its_own(self) -> None:
        graph = graph_of("a:a", [])
        signs: set[str | None] = set()
        for mark in Mark:
            root = parsed(svg(graph, Overlay("", {"a": StepMark(mark, "", "", is_current=False)}, {})))
            signs.add(nodes_of(root)[0].findall(f"{SVG}path")[-1].get("d"))
        assert len(signs) == len(Mark)

    def test_retries_without_a_bound_are_not_told(self) -> None:
        node = GraphNode("a", StepKind.ACTIVITY, "a", "", Retry(max_attempts=1), "default", 1)
        root = parsed(svg(Graph("w", "1", "w", "", "a", (node,), ())))
        assert nodes_of(root)[0].findtext(f"{SVG}title") == "a (activity)"


def test_a_broken_picture_would_be_noticed() -> None:
    with pytest.raises(ElementTree.ParseError):
        parsed(format(make(), "svg").replace("</g>", "", 1))
