"""The authority's files: made once, the certificate's copies mended, damage of the key told. 1 s."""

import pytest

from secondlook.run.authority import DamagedAuthorityError, make_authority
from secondlook.run.authority_files import AUTHORITY, CERTIFICATES, whole


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
