"""The publisher's key: made once, never taken when it is damaged. 0.1 s."""

import pytest

from secondlook.ground.errors import ConfigError
from secondlook.server.publish.signing import (
    KEY_FILE,
    check_publisher_key,
    publisher_key,
    read_private_key,
    renew_damaged_key,
)


def test_it_is_made_once(tmp_path):
    check_publisher_key(tmp_path)
    assert not (tmp_path / KEY_FILE).exists()
    made = publisher_key(tmp_path).private_bytes_raw()
    assert publisher_key(tmp_path).private_bytes_raw() == made
    renew_damaged_key(tmp_path)
    assert read_private_key(tmp_path / KEY_FILE).private_bytes_raw() == made


@pytest.mark.parametrize("kept", [0, 40])
def test_a_damaged_one_is_refused_with_the_way_out(tmp_path, kept):
    publisher_key(tmp_path)
    path = tmp_path / KEY_FILE
    path.write_bytes(path.read_bytes()[:kept])
    for use in (check_publisher_key, publisher_key):
        with pytest.raises(
            ConfigError,
            match=rf"{KEY_FILE} is no whole key in PEM; put back a good copy, or take the file away",
        ):
            use(tmp_path)


def test_one_that_is_configured_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        check_publisher_key(tmp_path, tmp_path / "other.key")


def test_a_server_that_nobody_pins_gets_a_new_one(tmp_path, caplog):
    (tmp_path / KEY_FILE).write_bytes(b"")
    renew_damaged_key(tmp_path)
    publisher_key(tmp_path)
    check_publisher_key(tmp_path)
    assert (tmp_path / f"{KEY_FILE}.damaged").exists()
    assert "is set aside, and a new one is made" in caplog.text
