"""The authority's files: made once, the certificate's copies mended, damage of the key told. 1 s."""

import pytest

from secondlook.run.authority import CertStore, make_authority
from secondlook.run.diagnosis.authority_check import DamagedAuthorityError
from secondlook.run.supervisor.authority_files import AUTHORITY, CERTIFICATES, PARAMETERS, whole


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority") / "ca"
    make_authority(folder)
    return folder


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_damaged_or_missing_copy_is_written_anew(made, name):
    path = made / name
    good, key = path.read_bytes(), (made / AUTHORITY).read_bytes()
    for damage in (b"", good[: len(good) // 2], b"\xff" * len(good), None):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        assert not whole(made, name)
        make_authority(made)
        assert path.read_bytes() == good
        assert whole(made, name)
    assert (made / AUTHORITY).read_bytes() == key
    assert (made / AUTHORITY).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", [0, 500, 2000])
def test_a_damaged_authority_is_named_and_left_alone(made, tmp_path, kept):
    (tmp_path / AUTHORITY).write_bytes((made / AUTHORITY).read_bytes()[:kept])
    with pytest.raises(DamagedAuthorityError, match=rf"{AUTHORITY} is damaged.*--renew"):
        make_authority(tmp_path)
    assert (tmp_path / AUTHORITY).stat().st_size == kept


def test_an_authority_is_there_whole_or_not_at_all(made, tmp_path, monkeypatch):
    def interrupted(path, *_):
        (path / AUTHORITY).write_bytes((made / AUTHORITY).read_bytes()[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CertStore, "create_store", interrupted)
        with pytest.raises(OSError, match="No space"):
            make_authority(tmp_path)
    assert list(tmp_path.iterdir()) == []
    make_authority(tmp_path)
    assert whole(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made.iterdir()}


def test_the_certificate_of_another_key_is_damage(made, tmp_path):
    make_authority(tmp_path)
    own = (tmp_path / AUTHORITY).read_bytes()
    key, _, _ = own.partition(b"-----BEGIN CERTIFICATE-----")
    (tmp_path / AUTHORITY).write_bytes(key + (made / CERTIFICATES[0]).read_bytes())
    with pytest.raises(DamagedAuthorityError):
        make_authority(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN DH PARAMETERS-----\nMII"])
def test_damaged_parameters_are_written_anew(made, damage):
    (made / PARAMETERS).write_bytes(damage)
    make_authority(made)
    CertStore.from_store(made, "mitmproxy", 2048)
    assert (made / PARAMETERS).read_bytes().rstrip().endswith(b"-----")
