"""Which failed page loads end without an answer, so that a browser goes on to http."""

import pytest

from secondlook.download.request_facts import RequestFacts
from secondlook.proxy.fallback import AGAIN_S, Fallback

PAGE = RequestFacts(dest="document")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_first_failure_is_silent_and_the_next_is_told():
    clock = Clock()
    fallback = Fallback(clock)
    assert fallback.takes("a", PAGE, "https", "only-http.test", 443)
    assert not fallback.takes("a", PAGE, "https", "Only-HTTP.test", 443)
    assert fallback.takes("b", PAGE, "https", "only-http.test", 443), "another client has not met it"
    assert fallback.takes("a", PAGE, "https", "other.test", 443)


def test_after_a_while_a_browser_may_fall_back_again():
    clock = Clock()
    fallback = Fallback(clock)
    assert fallback.takes("a", PAGE, "https", "only-http.test", 443)
    clock.now_s += AGAIN_S - 0.1
    assert not fallback.takes("a", PAGE, "https", "only-http.test", 443)
    clock.now_s += 0.1
    assert fallback.takes("a", PAGE, "https", "only-http.test", 443)


@pytest.mark.parametrize(
    ("facts", "scheme", "host", "port"),
    [
        (RequestFacts(dest="image"), "https", "a.test", 443),
        (RequestFacts(), "https", "a.test", 443),
        (PAGE, "http", "a.test", 80),
        (PAGE, "https", "a.test", 8443),
        (PAGE, "https", "192.0.2.1", 443),
        (PAGE, "https", "2001:db8::1", 443),
        (PAGE, "https", "router", 443),
        (PAGE, "https", "router.", 443),
    ],
)
def test_what_no_browser_tries_over_http_gets_its_answer(facts, scheme, host, port):
    assert not Fallback(Clock()).takes("a", facts, scheme, host, port)
