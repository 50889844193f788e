"""Identifiers: their form, their order, the time they carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.ground.ulid import ALPHABET, LENGTH, Identifiers, id_time, make_id

LAST = 2**48 / 1000 - 1


def test_identifiers_sort_by_time_and_never_repeat():
    make = Identifiers()
    made = [make.new(1_900_000_000 + number / 3000) for number in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000


@given(st.lists(st.floats(0, LAST)))
def test_identifiers_of_instants_sort_as_these_do(instants):
    ids = [make_id(at) for at in sorted(instants)]
    assert [text[:10] for text in ids] == sorted(text[:10] for text in ids)
    assert len(set(ids)) == len(ids)


@given(st.floats(0, LAST), st.sampled_from([make_id, lambda at: Identifiers().new(at)]))
def test_the_form_is_that_of_a_ulid(at, make):
    made = make(at)
    assert len(made) == LENGTH
    assert set(made) <= set(ALPHABET)
    assert id_time(made) == int(at * 1000) / 1000


@pytest.mark.parametrize("make", [make_id, lambda at: Identifiers().new(at)])
def test_an_instant_out_of_bounds_becomes_the_nearest(make):
    assert id_time(make(-5.0)) == 0
    assert id_time(make(LAST + 100)) == (2**48 - 1) / 1000


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "I" + "0" * 25, "o" * 26, "0" * 25 + "\n"])
def test_what_is_no_identifier_carries_no_time(text):
    assert id_time(text) is None
