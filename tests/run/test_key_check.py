"""Which secrets cannot be used: named, with what to do. 0.5 s."""

import pytest

from secondlook.run.assembly.answers.reviewing import secret_key
from secondlook.run.assembly.check.parts import own_site_key
from secondlook.run.authority import make_authority
from secondlook.run.diagnosis.key_check import damaged_keys, open_state
from secondlook.run.supervisor.authority_files import AUTHORITY
from secondlook.server.publish.signing import publisher_key


@pytest.fixture
def state(tmp_path):
    own_site_key(tmp_path)
    secret_key(tmp_path)
    (tmp_path / "server").mkdir()
    publisher_key(tmp_path / "server")
    make_authority(tmp_path / "ca", "ecdsa")
    return tmp_path


def test_an_installation_that_is_whole_or_new_has_none(state, tmp_path_factory):
    assert list(damaged_keys(state)) == []
    assert list(damaged_keys(tmp_path_factory.mktemp("new"))) == []


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("site.key", "start the proxy again"),
        ("review.key", "start the proxy again"),
        ("server/publisher.key", "put back a good copy, or take the file away"),
        (f"ca/{AUTHORITY}", "--renew"),
    ],
)
@pytest.mark.parametrize("kept", [0, 20])
def test_each_secret_that_is_cut_is_named_with_a_remedy(state, name, remedy, kept):
    path = state / name
    path.write_bytes(path.read_bytes()[:kept])
    [found] = damaged_keys(state)
    assert str(path) in found.text
    assert remedy in found.remedy


def test_one_that_cannot_be_looked_at_keeps_no_other_from_it(state):
    (state / "site.key").unlink()
    (state / "site.key").symlink_to("site.key")
    (state / "review.key").write_bytes(b"short")
    one, other = damaged_keys(state)
    assert "site.key" in one.text
    assert one.remedy == "this user must be able to read it"
    assert "review.key has 5 bytes" in other.text


@pytest.mark.parametrize(
    ("mode", "seen"), [(0o700, False), (0o750, False), (0o711, False), (0o755, True), (0o702, True)]
)
def test_a_state_that_every_user_can_look_into_is_told(tmp_path, mode, seen):
    state = tmp_path / "the state"
    assert list(open_state(state)) == []
    state.mkdir()
    state.chmod(mode)
    found = list(open_state(state))
    assert [(each.check, each.text, each.remedy) for each in found] == [
        (
            "state",
            f"{state} is open to every user of this machine (mode {mode:04o})",
            f"close it with `chmod o= '{state}'`",
        )
    ] * seen
