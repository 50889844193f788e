"""Whether a configuration is in force: by its digest, and by what the running proxy reports."""

import pytest

from secondlook.run.supervisor.settings_file import (
    changed,
    changed_since_read,
    differs,
    digest_of,
    reading_ended,
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text("mode: regular\n")
    return path


def test_a_file_differs_from_what_was_read_of_it_once_it_is_written_anew(config):
    read = digest_of(str(config))
    assert not differs(str(config), read)
    config.write_text("mode: socks5\n")
    assert differs(str(config), read)
    config.unlink()
    assert differs(str(config), read)


def test_no_file_differs_from_no_file_alone(config):
    assert digest_of(None) is None
    assert not differs(None, None)
    assert differs(str(config), None)


@pytest.mark.parametrize(
    ("facts", "ended"),
    [
        ({}, True),
        ({"readings": 3}, False),  # none since
        ({"reading": True}, False),  # not at its end
        ({"in_force": False}, False),  # workers of before are there
        ({"file": "other"}, False),  # of the file as it was before
        ({"in_force": False, "refused": "a fault"}, True),
        ({"readings": 3, "refused": "a fault of before"}, False),
    ],
)
def test_a_reading_has_ended_when_it_is_in_force_or_refused(facts, ended):
    settings = {"readings": 4, "reading": False, "refused": None, "in_force": True, "file": "wanted"}
    assert reading_ended({"settings": settings | facts}, 3, "wanted") is ended


def test_a_proxy_is_asked_for_the_file_that_it_works_with(config):
    running = {"invocation": {"config": str(config)}, "settings": {"file": digest_of(str(config))}}
    assert not changed_since_read(running)
    config.write_text("mode: socks5\n")
    assert changed_since_read(running)
    del running["settings"]  # of an older version
    assert not changed_since_read(running)


def test_what_was_refused_is_named():
    assert changed("a.yaml", "secondlook reload").endswith("`secondlook reload` puts it in force")
    assert "(the last time it was refused: line 3)" in changed("a.yaml", "secondlook reload", "line 3")
