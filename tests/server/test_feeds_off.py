"""Which feeds are off, by what the settings name and what is kept."""

import pytest

from secondlook.server.store.feeds_off import (
    FEEDS_OFF,
    KEPT_S,
    Off,
    off_now,
    outlived,
    read_off,
    write_off,
)
from secondlook.server.store.store import ServerStore
from serverkit import NOW

EARLIER = NOW - 86_400.0


@pytest.mark.parametrize(
    ("before", "came", "named", "off"),
    [
        ({}, {"a"}, {"a": True}, {}),
        ({}, {"a"}, {"a": False}, {"a": Off(NOW)}),
        ({}, set(), {"a": False}, {"a": Off(NOW)}),  # what it brings while it is switched off comes too late
        ({"a": Off(EARLIER)}, {"a"}, {"a": False}, {"a": Off(EARLIER)}),
        ({"a": Off(EARLIER)}, {"a"}, {"a": True}, {}),
        ({}, {"a"}, {"b": True}, {"a": Off(NOW, NOW)}),
        ({}, {"a"}, {}, {"a": Off(NOW, NOW)}),  # the shipped test list alone is named
        ({"a": Off(EARLIER)}, {"a"}, {"b": True}, {"a": Off(EARLIER, NOW)}),
        ({"a": Off(EARLIER, EARLIER)}, {"a"}, {"b": True}, {"a": Off(EARLIER, EARLIER)}),
        ({"a": Off(EARLIER, EARLIER)}, {"a"}, {"a": False}, {"a": Off(EARLIER)}),
        ({"a": Off(EARLIER, EARLIER)}, set(), {"b": True}, {}),
        ({}, {"a"}, None, {}),
        ({"a": Off(EARLIER)}, {"a", "b"}, None, {"a": Off(EARLIER)}),
    ],
)
def test_the_settings_decide_and_no_feeds_at_all_change_nothing(before, came, named, off):
    assert off_now(before, came, named, NOW) == off


def test_only_what_the_settings_name_no_more_is_removed_in_its_time():
    off = {"kept": Off(0.0), "left": Off(0.0, NOW - KEPT_S + 1), "over": Off(0.0, NOW - KEPT_S)}
    assert outlived(off, NOW) == ["over"]


@pytest.mark.parametrize(
    "damaged",
    [
        *(b"", b"[1]", b'{"a": 1}', b'{"a": {"since": 1, "more": 2}}', b'{"a": {"since": "x"}}'),
        *(b'{"a": {"since": NaN}}', b'{"a": {"since": 1e300}}', b'{"a": {"since": 1, "unnamed_at": []}}'),
    ],
)
def test_a_damaged_file_takes_nothing_out_of_force(tmp_path, damaged):
    folder = ServerStore(tmp_path).root
    assert read_off(folder) == {}
    write_off(folder, {"a": Off(EARLIER, NOW), "b": Off(NOW)})
    assert read_off(folder) == {"a": Off(EARLIER, NOW), "b": Off(NOW)}
    (folder / FEEDS_OFF).write_bytes(damaged)
    assert read_off(folder) == {}
