"""Whom something is for, as it was typed."""

import pytest

from secondlook.review.operations.refused import Refused, named_client


def test_an_address_a_network_and_a_user_are_named_in_one_form():
    assert named_client(" 10.0.0.9/24 ") == "10.0.0.0/24"
    assert named_client(" anna ") == "anna"


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "10.0.0.0/99"])
def test_a_client_that_cannot_be_is_refused_at_its_field(text):
    with pytest.raises(Refused, match="client: ") as refused:
        named_client(text)
    assert refused.value.field == "client"
