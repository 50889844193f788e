"""Labels of outcomes are few, whatever a server says."""

import pytest

from secondlook.lookup.metrics import outcome_label


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        ("answered", "answered"),
        ("timeout: no free connection", "timeout"),
        ("bad answer: <html>", "bad answer"),
        ("status 503", "status 5xx"),
        ("status 404", "status 4xx"),
        ("status 429", "status 429"),
    ],
)
def test_an_outcome_has_a_label(outcome, label):
    assert outcome_label(outcome) == label
