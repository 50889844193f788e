"""Copies of the authority's certificate that break off, or are of another one, are not given away."""

import pytest

from secondlook.run.supervisor.authority_files import AUTHORITY, CERTIFICATES, whole, whole_pem

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / AUTHORITY).write_bytes(
        b"-----BEGIN PRIVATE KEY-----\nK\n-----END PRIVATE KEY-----\n" + CERTIFICATE
    )
    return tmp_path


@pytest.mark.parametrize("name", CERTIFICATES)
@pytest.mark.parametrize(
    ("content", "is_whole"),
    [
        (CERTIFICATE, True),
        (CERTIFICATE.strip(), True),
        (CERTIFICATE[:-9], False),
        (b"", False),
        (CERTIFICATE.replace(b"AAAA", b"BBBB"), False),
    ],
)
def test_a_copy_is_whole_when_it_is_all_of_the_authoritys(folder, name, content, is_whole):
    (folder / name).write_bytes(content)
    assert whole(folder, name) is is_whole


def test_without_a_copy_or_an_authority_nothing_is_whole(folder):
    assert not whole(folder)
    (folder / CERTIFICATES[0]).write_bytes(CERTIFICATE)
    (folder / AUTHORITY).unlink()
    assert not whole(folder)


@pytest.mark.parametrize(
    ("content", "is_whole"), [(CERTIFICATE, True), (CERTIFICATE[:-9], False), (b"", False)]
)
def test_a_file_in_pem_goes_to_its_end(tmp_path, content, is_whole):
    path = tmp_path / "a.pem"
    assert not whole_pem(path)
    path.write_bytes(content)
    assert whole_pem(path) is is_whole
