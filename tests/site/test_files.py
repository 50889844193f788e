"""Files of the site that are the same for everybody: as they are handed out, and what damage does. 1 s."""

import plistlib

import pytest

from secondlook.run.authority import make_authority
from secondlook.site.files import certificate, mobile_profile


@pytest.fixture(scope="module")
def ca_pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder, "ecdsa")
    return folder / "mitmproxy-ca-cert.pem"


def test_the_certificate_is_handed_out_as_it_is(ca_pem):
    file = certificate(ca_pem)
    assert file.content == ca_pem.read_bytes()
    assert (file.content_type, file.name) == ("application/x-x509-ca-cert", "second-look-ca.pem")


@pytest.mark.parametrize("ending", ["crt", "cer"])
def test_the_certificate_is_saved_under_a_name_that_windows_opens(ca_pem, ending):
    assert certificate(ca_pem, ending).name == f"second-look-ca.{ending}"


@pytest.mark.parametrize(("address", "payloads"), [(None, 1), ("192.0.2.1:8080", 2)])
def test_the_profile_has_the_proxy_where_it_was_asked_for(ca_pem, address, payloads):
    file = mobile_profile(ca_pem, "for a test", address)
    assert file.content_type == "application/x-apple-aspen-config"
    assert len(plistlib.loads(file.content)["PayloadContent"]) == payloads


def test_what_is_missing_or_damaged_is_an_error(ca_pem, tmp_path):
    damaged = tmp_path / "damaged.pem"
    damaged.write_bytes(ca_pem.read_bytes()[:200])
    for read in (certificate, lambda path: mobile_profile(path, "", None)):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.pem")
        with pytest.raises(ValueError, match=r"(?i)pem"):
            read(damaged)
