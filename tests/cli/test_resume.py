"""The end of pauses: of everybody, or of one client."""

import pytest

from cli.calling import on


@pytest.mark.parametrize(
    ("arguments", "ended", "left"),
    [
        ((), "protection is on again", "protection was not paused"),
        (("--client", "10.0.0.1"), "protection is on again", "protection is on again"),
        (("--client", "10.0.0.3"), "protection was not paused", "protection is on again"),
    ],
)
def test_only_the_pauses_that_are_meant_end(state, arguments, ended, left):
    for client in ("10.0.0.1", "10.0.0.2"):
        on(state, "pause", "5", "--client", client)
    assert on(state, "resume", *arguments).stdout.strip() == ended
    assert on(state, "resume", "--client", "10.0.0.2").stdout.strip() == left
