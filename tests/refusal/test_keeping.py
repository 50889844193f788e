"""What a page may promise of a block, by what the log keeps of it."""

import pytest

from secondlook.ledger.log.privacy import Discretion
from secondlook.refusal.keeping import Keeping

PLAIN, ASKED = "http://site.test/a", "http://site.test/a?q=1"


@pytest.mark.parametrize(
    ("level", "url", "event", "whole"),
    [
        (0, ASKED, True, True),
        (1, ASKED, True, False),
        (1, PLAIN, True, True),
        (2, PLAIN, True, False),
        (3, PLAIN, False, False),
    ],
)
def test_an_exception_needs_the_whole_url_in_the_log(level, url, event, whole):
    keeping = Keeping(Discretion(level))
    assert (keeping.event(url), keeping.whole_url(url)) == (event, whole)


def test_nothing_is_kept_of_a_host_that_is_ignored():
    keeping = Keeping(Discretion(0, ("site.test",)))
    assert not keeping.event(PLAIN)
    assert not keeping.whole_url(PLAIN)


def test_a_url_that_cannot_be_taken_apart_follows_the_level():
    assert Keeping(Discretion(0)).event("http://[::1/")
    assert not Keeping(Discretion(3)).event("http://[::1/")
