from hypothesis import given
from hypothesis import strategies as st

from secondlook.agent.identifier import Identifiers

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def test_identifiers_sort_by_time_and_never_repeat():
    make = Identifiers()
    made = [make.new(1_900_000_000 + number / 3000) for number in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000


@given(st.floats(0, 2**48 / 1000 - 1))
def test_the_form_is_that_of_a_ulid(at):
    made = Identifiers().new(at)
    assert len(made) == 26
    assert set(made) <= set(LETTERS)
    value = 0
    for letter in made[:10]:
        value = value * 32 + LETTERS.index(letter)
    assert value == int(at * 1000)
