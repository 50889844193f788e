"""The profile for Apple's devices names one authority, and the PAC file only where there is one."""

import plistlib

from cryptography.x509 import load_pem_x509_certificate

from secondlook.run.authority import make_authority
from secondlook.site.mobile_profile import profile


def test_a_profile_with_and_without_a_proxy(tmp_path):
    make_authority(tmp_path, "ecdsa")
    authority = load_pem_x509_certificate((tmp_path / "mitmproxy-ca-cert.pem").read_bytes())
    plain = plistlib.loads(profile(authority, "told"))
    assert [each["PayloadType"] for each in plain["PayloadContent"]] == ["com.apple.security.root"]
    assert plain["PayloadDescription"] == "told"
    proxied = plistlib.loads(profile(authority, "told", "http://10.0.0.1:8080/proxy.pac"))
    assert proxied["PayloadContent"][1]["ProxyPACURL"] == "http://10.0.0.1:8080/proxy.pac"
    assert proxied["PayloadIdentifier"] == plain["PayloadIdentifier"]
