"""Servers in the settings: whose conditions bind us, and that what is asked of them stays private."""

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings

KEY = "ab" * 32


def server(text):
    return load_settings(None, overrides=["state=/s", f"servers.intranet=[{text}]"]).servers.intranet[0]


@pytest.mark.parametrize(
    ("text", "label", "google"),
    [
        ("{url: 'https://lists.example:8443/', name: office}", "office", False),
        ("{url: 'https://lists.example:8443/'}", "lists.example:8443", False),
        ("{url: 'https://safebrowsing.googleapis.com/', key: K}", "safebrowsing.googleapis.com", True),
        ("{url: 'https://lists.example/', kind: google, key: K}", "lists.example", True),
        (
            "{url: 'https://safebrowsing.googleapis.com/', kind: second_look}",
            "safebrowsing.googleapis.com",
            False,
        ),
    ],
)
def test_a_server_is_googles_by_its_host_unless_its_kind_is_given(text, label, google):
    found = server(text)
    assert (found.label, found.google) == (label, google)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{url: 'http://lists.example/'}", "expected https://"),
        ("{url: 'https://safebrowsing.googleapis.com/'}", "API key"),
        (f"{{url: 'https://lists.example/', key: '{KEY[:-1]}'}}", "Ed25519"),
    ],
)
def test_a_server_that_would_hear_in_the_clear_or_be_anybody_is_refused(text, why):
    with pytest.raises(InvalidConfigError, match=why):
        server(text)


@pytest.mark.parametrize(
    "text",
    [
        "{url: 'http://127.0.0.1:8080/'}",
        "{url: 'http://[::1]:8080/'}",
        "{url: 'http://lists.example/', insecure: true}",
        f"{{url: 'https://lists.example/', key: '{KEY}'}}",
    ],
)
def test_plain_http_is_for_this_machine_or_who_insists(text):
    assert not server(text).google
