import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.neutralize import inert, inert_cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("\x1b[31mred", "\\u{001b}[31mred"),
        ("user\u202egnp.exe", "user\\u{202e}gnp.exe"),
        ("a\nb\r\tc", "a\\u{000a}b\\u{000d}\\u{0009}c"),
        ("zero\u200bwidth", "zero\\u{200b}width"),
    ],
)
def test_shows_what_hides(text, shown):
    assert inert(text) == shown


@given(st.text(alphabet=st.characters()))
def test_nothing_invisible_is_left(text):
    assert all(unicodedata.category(c) not in {"Cc", "Zl", "Zp", "Cs"} for c in inert(text))
    assert not set(inert(text)) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
    )


def test_is_cut_before_it_is_spelled_out():
    assert inert("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_cell_is_never_a_formula(start):
    assert inert_cell(f"{start}cmd|' /C calc'!A0").startswith("'")
