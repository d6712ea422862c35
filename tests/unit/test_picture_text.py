from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell._picture._text import all_for_xml, clean, cut, for_xml, lines_of, width

SIZE, ROOM, LINES = 13, 156, 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("審査 → ✓", "審査 → ✓"),
        ("tab\there", "tab here"),
        ("no-break\u00a0wide\u3000", "no-break wide "),
        ("one\ntwo\r\nthree", "one two three"),
        ("bell\a null\0", "bell\ufffd null\ufffd"),
        ("override\u202e", "override\ufffd"),
        ("half \ud83d", "half \ufffd"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
    ],
)
def test_what_steers_is_replaced(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text())
def test_clean_text_can_be_encoded_and_is_one_line(text: str) -> None:
    shown = clean(text)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
    assert clean(shown) == shown


def test_no_text_is_markup() -> None:
    assert for_xml("""<script>&amp;"'</script>]]>""") == "&lt;script&gt;&amp;amp;&quot;'&lt;/script&gt;]]&gt;"


@given(st.lists(st.text(), min_size=1))
def test_many_texts_at_once_are_the_same(texts: list[str]) -> None:
    assert all_for_xml(texts) == [for_xml(text) for text in texts]


def test_long_text_is_cut() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("load_order", 68, 74),
        ("iiii", 15, 15),
        ("WWWW", 52, 52),
        ("審査を待つ", 65, 68),
        ("🚚🚚", 34, 36),
        ("e\u0301", 8, 9),
        ("Ж", 11, 13),
        ("жук", 24, 30),
        ("אישור", 40, 46),
        ("\ufdfd", 130, 160),
    ],
)
def test_widths_are_those_of_wide_fonts(text: str, least: int, most: int) -> None:
    assert least <= width(text, SIZE) <= most


def test_more_characters_than_are_remembered_have_widths() -> None:
    everything = "".join(map(chr, range(0x4E00, 0x8000)))
    assert width(everything, 100) == 102 * len(everything)


def test_the_widest_of_ligatures_has_its_room() -> None:
    text = "long " * 8 + "\ufdfd"
    assert lines_of(text, SIZE, 100, LINES)[1] >= width("\ufdfd", SIZE) > 100


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("load_order", ("load_order",)),
        ("", (" ",)),
        (" \n ", (" ",)),
        ("one\ntwo", ("one", "two")),
        ("reconcile_outstanding_instructions", ("reconcile_", "outstanding_", "instructions")),
        ("WaitForTheManualApprovalOfTheDeputy", ("WaitForThe", "Manual", "ApprovalOf", "TheDeputy")),
        ("x" * 30, ("x" * 10, "x" * 10, "x" * 10)),
        ("注文を読み込んで在庫を確認する", ("注文を読み", "込んで在庫", "を確認する")),
        ("поискТоваровПоСкладам", ("поиск", "ТоваровПо", "Складам")),
        ("👨\u200d👩👨\u200d👩👨\u200d👩👨\u200d👩", ("👨\u200d👩👨\u200d👩", "👨\u200d👩👨\u200d👩")),
    ],
)
def test_lines_end_where_words_do(text: str, lines: tuple[str, ...]) -> None:
    assert lines_of(text, SIZE, 100, LINES) == (lines, max(width(line, SIZE) for line in lines))


def test_marks_stay_with_what_they_belong_to() -> None:
    text = "e\u0301" * 40
    lines, _ = lines_of(text, SIZE, 100, 10)
    assert "".join(lines) == text
    assert len(lines) > 1
    assert not any(unicodedata.combining(line[0]) for line in lines)


def test_a_mark_is_not_torn_off_even_where_the_room_ends() -> None:
    family = "\U0001f468\u200d\U0001f469"
    assert lines_of(f"W{family}{family}", SIZE, width(f"W{family}", SIZE) - 2, 6)[0][0] == "W"


def test_a_flood_of_marks_ends() -> None:
    text = "\u0301x" * 2 + "W" * 60 + "\u0301" * 200
    assert "".join(lines_of(text, SIZE, 20, 3)[0]) == cut(text, 240)


def test_too_many_lines_are_joined() -> None:
    lines, _ = lines_of("a\nb\nc\nd\ne\nf", SIZE, ROOM, LINES)
    assert lines == ("a", "b", "c", "d e f")


@given(st.text(max_size=400), st.integers(1, 200), st.integers(1, 5))
def test_lines_are_as_many_as_allowed_and_hold_the_text(text: str, room: int, most: int) -> None:
    lines, widest = lines_of(text, SIZE, room, most)
    assert widest == max(width(line, SIZE) for line in lines)
    assert 1 <= len(lines) <= most
    assert all(line == clean(line) for line in lines)
    shown = "".join("".join(lines).split())
    assert shown == "".join(clean(cut(text, 240)).split())
