"""Where steps and edges are put."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._graph import Graph, StepKind
from stepwell._picture._heights import heights
from stepwell._picture._layers import Link, Way, layered, put_labels_in_order
from stepwell._picture._order import crossings, put_in_order
from stepwell._picture._shapes import Block, block_around, inset, outline
from stepwell._picture._sketch import Sketch, sketched
from tests.support.pictures import check_layout, graph_of


def links(*pairs: tuple[int, int], label: int = 0, is_dashed: bool = False) -> list[Link]:
    return [Link(source, target, label, 17 if label else 0, is_dashed) for source, target in pairs]


def drawn(steps: str, *edges: str) -> Sketch:
    sketch = sketched(graph_of(steps, edges), None)
    check_layout(sketch)
    return sketch


def middle(sketch: Sketch, name: str) -> tuple[int, int]:
    return sketch.layout.middles[[node.name for node in sketch.graph.nodes].index(name)]


class TestLayers:
    def test_a_step_stands_right_of_all_that_lead_to_it(self) -> None:
        layers = layered(4, 0, links((0, 1), (0, 2), (1, 2), (2, 3)))
        assert layers.ranks == [0, 1, 2, 3]

    def test_what_leads_back_goes_around(self) -> None:
        layers = layered(3, 0, links((0, 1), (1, 2), (2, 0), (1, 1)))
        assert layers.ranks == [0, 1, 2]
        assert layers.ways == [Way.THROUGH, Way.THROUGH, Way.AROUND, Way.LOOP]

    def test_the_start_stands_leftmost_even_if_unreachable_steps_lead_to_it(self) -> None:
        layers = layered(3, 1, links((0, 1), (1, 2)))
        assert layers.ranks == [0, 0, 1]
        assert layers.ways[0] is Way.AROUND

    def test_a_long_edge_keeps_room_in_each_column(self) -> None:
        layers = layered(4, 0, links((0, 1), (1, 2), (2, 3), (0, 3)))
        assert [layers.places[item] for item in layers.stops[3]] == [0, 2, 4, 6]

    def test_a_very_long_edge_goes_around(self) -> None:
        chain = links(*pairwise(range(10)), (0, 9))
        assert layered(10, 0, chain).ways[-1] is Way.AROUND

    def test_many_long_edges_of_one_look_go_around_together(self) -> None:
        chain = links(*pairwise(range(7)))
        ends = links(*((number, 6) for number in range(5)), is_dashed=True)
        ways = layered(7, 0, [*chain, *ends]).ways
        assert ways[6:] == [Way.AROUND] * 5

    def test_where_there_are_thousands_shorter_edges_go_around(self) -> None:
        def longest(count: int) -> int:
            made = links(*((one, one + far) for one in range(count) for far in (1, 3) if one + far < count))
            layers = layered(count, 0, made)
            ranks = layers.ranks
            return max(
                ranks[link.target] - ranks[link.source]
                for link, way in zip(made, layers.ways, strict=True)
                if way is Way.THROUGH
            )

        assert longest(600) == 3
        assert longest(800) == 1

    def test_labels_have_columns_of_their_own(self) -> None:
        layers = layered(3, 0, [*links((0, 1), label=30), *links((0, 2), (1, 2))])
        assert [layers.places[item] for item in layers.stops[0]] == [0, 1, 2]
        assert list(layers.labels.values()) == [0]
        assert [layers.places[item] for item in layers.stops[1]] == [0, 1, 2, 4]

    @pytest.mark.parametrize("seed", range(3))
    def test_the_number_of_items_is_linear(self, seed: int) -> None:
        pick = random.Random(seed)
        pairs = [*pairwise(range(400)), *((pick.randrange(400), pick.randrange(400)) for _ in range(800))]
        made = links(*pairs, label=20)
        assert len(layered(400, 0, made).places) <= 8 * (400 + len(made))


class TestOrder:
    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(7, 13)), max_size=25, unique=True))
    def test_crossings_are_counted_as_one_would_by_hand(self, pairs: list[tuple[int, int]]) -> None:
        right = [[end for begin, end in pairs if begin == item] for item in range(14)]
        places = [item % 7 for item in range(14)]
        by_hand = sum((a - b) * (x - y) < 0 for (a, x), (b, y) in combinations(pairs, 2))
        assert crossings([list(range(7))], right, places) == by_hand

    def test_what_can_be_untangled_is(self) -> None:
        columns = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        right: list[list[int]] = [[7], [6], [5], [4], [11], [10], [9], [8], [], [], [], []]
        assert counted(columns, right) > 0
        put_in_order(columns, turned(right), right)
        assert counted(columns, right) == 0

    def test_what_came_first_stands_above(self) -> None:
        columns, right = [[0, 1], [2, 3, 4]], [[4, 4], [2, 3], [], [], []]
        put_in_order(columns, turned(right), right)
        assert counted(columns, right) == 0
        assert columns[0] == [0, 1]

    def test_ties_are_settled_either_way(self) -> None:
        # All of the second column tie from the left, and so do those that lead to item 8 from the right.
        right = [[1, 2, 3], [4], [8], [4, 5, 6], [7], [8], [8], [], []]
        columns = [[0], [1, 2, 3], [4, 5, 6], [8, 7]]
        right[2] = [6]
        put_in_order(columns, turned(right), right)
        assert counted(columns, right) == 0

    def test_labels_follow_the_steps_on_their_left_and_then_those_on_their_right(self) -> None:
        made = links((0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6), (1, 0), label=20)
        layers = layered(7, 0, made)
        layers.columns[2][:], layers.columns[4][:] = [2, 1], [5, 4, 6, 3]
        put_labels_in_order(layers, made)
        assert [layers.labels[item] for item in layers.columns[1]] == [1, 0]
        assert [layers.labels[item] for item in layers.columns[3]] == [4, 5, 6, 3, 2]

    def test_the_best_that_was_seen_is_kept(self) -> None:
        pick = random.Random(7)
        right = [[pick.randrange(20, 40) for _ in range(3)] for _ in range(20)] + [[] for _ in range(20)]
        columns = [list(range(20)), list(range(20, 40))]
        before = counted(columns, right)
        put_in_order(columns, turned(right), right)
        assert counted(columns, right) < before
        assert sorted(columns[0]) == list(range(20))

    def test_a_large_one_is_swept_less(self) -> None:
        pick = random.Random(7)
        right = [[pick.randrange(300, 600)] for _ in range(300)] + [[] for _ in range(300)]
        columns = [list(range(300)), list(range(300, 600))]
        put_in_order(columns, turned(right), right)
        assert counted(columns, right) == 0

    def test_what_is_large_and_tangled_ends_soon(self) -> None:
        pick = random.Random(3)
        right = [[pick.randrange(300, 600) for _ in range(3)] for _ in range(300)] + [[] for _ in range(300)]
        columns = [list(range(300)), list(range(300, 600))]
        before = counted(columns, right)
        put_in_order(columns, turned(right), right)
        assert 0 < counted(columns, right) < before


def turned(right: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[begin for begin, ends in enumerate(right) for end in ends if end == item] for item in range(len(right))]


def counted(columns: Sequence[Sequence[int]], right: list[list[int]]) -> int:
    places = {item: place for column in columns for place, item in enumerate(column)}
    return crossings(columns, right, [places.get(item, 0) for item in range(len(right))])


class TestHeights:
    @given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=10, max_size=10), st.integers(0, 10))
    def test_items_keep_their_order_and_their_distance(self, right: list[list[int]], steps: int) -> None:
        columns = [[0, 1, 2], [3, 4, 5, 6], [7], [8, 9]]
        above, below = list(range(5, 15)), list(range(15, 5, -1))
        chains = [[0, 4, 7]]
        found = heights(columns, (turned(right), right), (above, below), steps=steps, chains=chains)
        for column in columns:
            for upper, lower in pairwise(column):
                assert found[lower] - found[upper] >= below[upper] + above[lower]

    def test_a_chain_that_can_not_be_straight_swings(self) -> None:
        columns, right = [[0], [1, 2, 3], [4, 5, 6], [7]], [[1], [6], [5], [4], [7], [7], [7], []]
        rooms = [20] * 8
        # Item 1 is the uppermost of its column, and item 6 the lowest: two steps keep them apart.
        found = heights(columns, (turned(right), right), (rooms, rooms), steps=1, chains=[[0, 1, 6, 7], [2, 5], [3, 4]])
        assert found[6] - found[4] == 80
        assert found[3] - found[1] == 80

    def test_a_chain_is_straight(self) -> None:
        sketch = drawn("a:a b:a c:d d:y e:n", "a b next", "b c next", "c d on", "c e off", "a e catch:KeyError")
        assert len({middle(sketch, name)[1] for name in "abc"}) == 1

    def test_what_goes_well_counts_more_than_what_goes_wrong(self) -> None:
        sketch = drawn("pay:a paid:y denied:n", "pay denied catch:Declined", "pay paid next")
        assert middle(sketch, "pay")[1] == middle(sketch, "paid")[1]


class TestShapes:
    @pytest.mark.parametrize("kind", StepKind)
    @pytest.mark.parametrize(("width", "height"), [(10, 17), (150, 17), (150, 68), (300, 34)])
    def test_a_text_is_within_its_outline(self, kind: StepKind, width: int, height: int) -> None:
        block = block_around(kind, width, height)
        assert block.width % 2 == block.height % 2 == 0
        # The corners of the text's letters: a line is less high than what it takes.
        room = block.width - 2 * inset(block, height // 2 - 2)
        assert room >= width
        assert "<" in outline(block, 0, 0)

    @pytest.mark.parametrize("kind", StepKind)
    def test_each_kind_has_an_outline_of_its_own(self, kind: StepKind) -> None:
        others = [outline(Block(other, 100, 40), 0, 0) for other in StepKind if other is not kind]
        assert outline(Block(kind, 100, 40), 0, 0) not in others

    @pytest.mark.parametrize("kind", StepKind)
    def test_a_border_lies_ever_farther_inside_away_from_the_middle(self, kind: StepKind) -> None:
        insets = [inset(Block(kind, 100, 40), off) for off in range(30)]
        assert insets[0] == 0
        assert insets == sorted(insets)
        assert insets == [inset(Block(kind, 100, 40), -off) for off in range(30)]


class TestCourses:
    def test_an_edge_between_steps_of_one_height_is_straight(self) -> None:
        sketch = drawn("a:a b:y", "a b next")
        assert len(sketch.layout.wires[0].points) == 2

    def test_parallel_edges_have_courses_of_their_own(self) -> None:
        sketch = drawn("a:w b:y", "a b yes", "a b no", "a b timeout", "a b next")
        courses = [wire.points for wire in sketch.layout.wires]
        assert len(set(courses)) == 4
        assert len({points[-1] for points in courses}) == 4

    def test_unlabelled_twins_have_courses_of_their_own(self) -> None:
        sketch = drawn("a:a b:y", "a b next", "a b next")
        assert len({wire.points for wire in sketch.layout.wires}) == 2

    def test_all_routes_of_a_decision_leave_at_its_tip(self) -> None:
        sketch = drawn("a:d b:y c:n", "a b yes", "a c no")
        assert len({wire.points[0] for wire in sketch.layout.wires}) == 1

    def test_loops_over_one_step_nest(self) -> None:
        sketch = drawn("a:a b:y", "a a catch:KeyError", "a b next", "a a catch:ValueError", "a a next")
        first, second, third = (sketch.layout.wires[number].points for number in (0, 2, 3))
        assert first[2][1] > second[2][1] > third[2][1]
        assert first[1][0] < second[1][0] < third[1][0]

    def test_a_decision_with_a_loop_has_more_than_its_tip(self) -> None:
        sketch = drawn("a:d b:y", "a a again", "a b on")
        loop, on = (wire.points for wire in sketch.layout.wires)
        assert loop[0][1] < on[0][1]

    def test_nested_loops_are_nested_brackets_above(self) -> None:
        sketch = drawn("a:a b:a c:d d:d e:y", "a b next", "b c next", "c b again", "c d on", "d a again", "d e on")
        inner, outer = sketch.layout.wires[2].points, sketch.layout.wires[4].points
        tops = [min(y for _, y in points) for points in (inner, outer)]
        assert tops[1] < tops[0] < middle(sketch, "b")[1]
        assert min(x for x, _ in outer) < min(x for x, _ in inner)
        assert max(x for x, _ in inner) < max(x for x, _ in outer)

    def test_many_failures_share_a_line_below(self) -> None:
        names = [f"s{number}" for number in range(12)]
        edges = [f"{one} {other} next" for one, other in pairwise([*names, "done"])]
        edges += [f"{name} failed catch:Exception" for name in names]
        sketch = drawn(" ".join(f"{name}:a" for name in names) + " done:y failed:n", *edges)
        lines = [max(y for _, y in wire.points) for wire in sketch.layout.wires[12:22]]
        assert len(set(lines)) == 1
        assert lines[0] > middle(sketch, "failed")[1]

    def test_detours_of_one_length_that_lie_end_to_end_share_heights(self) -> None:
        names = [f"s{number}" for number in range(30)]
        edges = [f"{one} {other} next" for one, other in pairwise(names)]
        edges += [f"{one} {other} catch:KeyError" for one, other in zip(names, names[6:], strict=False)]
        sketch = drawn(" ".join(f"{name}:a" for name in names), *edges)
        lines = {
            max((y for _, y in wire.points), key=lambda y: abs(y - sketch.layout.middles[0][1]))
            for wire in sketch.layout.wires[29:]
        }
        assert len(lines) <= 7

    def test_a_detour_goes_where_the_way_is_much_shorter(self) -> None:
        steps = "a:d b:a c:a d:a e:a f:a g:y " + " ".join(f"x{number}:n" for number in range(9))
        fan = [f"a x{number} r{number}" for number in range(9)]
        chain = [f"{one} {other} next" for one, other in pairwise("bcdefg")]
        sketch = drawn(steps, *fan, "a b on", *chain, "f a catch:KeyError")
        assert max(y for _, y in sketch.layout.wires[-1].points) > middle(sketch, "f")[1]

    def test_one_step_alone_is_drawn(self) -> None:
        sketch = drawn("done:y")
        assert sketch.layout.width < 200


def large(count: int, seed: int) -> Graph:
    """Return a long chain with half as many edges again between any steps."""
    pick = random.Random(seed)
    steps = " ".join(f"s{number}:d" for number in range(count))
    edges = [f"s{one} s{other} on" for one, other in pairwise(range(count))]
    edges += [f"s{pick.randrange(count)} s{pick.randrange(count)} r{number}" for number in range(count // 2)]
    return graph_of(steps, edges)


@pytest.mark.parametrize("seed", range(2))
def test_a_large_graph_keeps_to_the_same_rules(seed: int) -> None:
    check_layout(sketched(large(150, seed), None))


def test_the_largest_graph_there_may_be_needs_no_recursion() -> None:
    names = [f"s{number}" for number in range(10_000)]
    edges = [f"{one} {other} next" for one, other in pairwise(names)]
    sketch = sketched(graph_of(" ".join(f"{name}:a" for name in names), [*edges, "s9999 s0 catch:KeyError"]), None)
    assert len(sketch.layout.wires) == 10_000
    assert {y for _, y in sketch.layout.middles} == {sketch.layout.middles[0][1]}
