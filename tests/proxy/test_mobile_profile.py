"""The profile for Apple's devices has what they ask for, as the proxy serves it (1 s)."""

import plistlib
import re
import subprocess
import uuid

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from cryptography.x509.oid import NameOID

from secondlook.run.authority import make_authority

# of every payload, with the type that Apple's documentation gives
COMMON = {"PayloadType": str, "PayloadVersion": int, "PayloadIdentifier": str, "PayloadUUID": str}
PROFILE = "http://secondlook.internal/ca.mobileconfig"


def payloads(whole):
    return [whole, *whole["PayloadContent"]]


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("", ["com.apple.security.root"]),
        ("?proxy=pac", ["com.apple.security.root", "com.apple.proxy.http.global"]),
        ("?proxy=other", ["com.apple.security.root"]),
    ],
)
def test_a_profile_is_valid_and_has_what_was_asked_for(proxy, curl, query, kinds):
    answer = curl(proxy, "-i", f"{PROFILE}{query}").stdout
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200" in head.splitlines()[0]
    assert b"content-type: application/x-apple-aspen-config" in head.lower()
    assert b'filename="second-look.mobileconfig"' in head
    whole = plistlib.loads(body, fmt=plistlib.FMT_XML)
    assert (whole["PayloadType"], whole["PayloadScope"]) == ("Configuration", "System")
    assert [one["PayloadType"] for one in whole["PayloadContent"]] == kinds
    for one in payloads(whole):
        assert {name: type(one[name]) for name in COMMON} == COMMON
        assert one["PayloadVersion"] == 1
        assert str(uuid.UUID(one["PayloadUUID"])).upper() == one["PayloadUUID"]
        assert re.fullmatch(r"internal\.secondlook\.[0-9a-f]{16}\.[a-z]+", one["PayloadIdentifier"])
    for name in ("PayloadUUID", "PayloadIdentifier"):
        assert len({one[name] for one in payloads(whole)}) == len(kinds) + 1


def test_the_certificate_is_the_proxys_own_and_names_the_profile(proxy, curl):
    whole = plistlib.loads(curl(proxy, PROFILE).stdout)
    authority = load_pem_x509_certificate(proxy.ca.read_bytes())
    (root,) = whole["PayloadContent"]
    assert root["PayloadContent"] == authority.public_bytes(Encoding.DER)
    assert load_der_x509_certificate(root["PayloadContent"]) == authority
    (name,) = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert whole["PayloadDisplayName"] == name.value
    assert b"PRIVATE" not in curl(proxy, PROFILE).stdout


def test_the_proxy_is_its_pac_file_as_this_client_reaches_it(proxy, curl):
    _, settings = plistlib.loads(curl(proxy, f"{PROFILE}?proxy=pac").stdout)["PayloadContent"]
    assert settings["ProxyType"] == "Auto"
    assert settings["ProxyPACURL"] == f"{proxy.url}/proxy.pac"
    assert settings["ProxyPACFallbackAllowed"] is False
    assert (
        b"FindProxyForURL"
        in subprocess.run(["curl", "-sS", settings["ProxyPACURL"]], capture_output=True, check=False).stdout
    )


def test_identifiers_stay_for_one_authority_and_are_others_for_another(proxy, make_proxy, curl):
    def identifiers(of, query=""):
        whole = plistlib.loads(curl(of, f"{PROFILE}{query}").stdout)
        return [(one["PayloadUUID"], one["PayloadIdentifier"]) for one in payloads(whole)]

    assert identifiers(proxy) == identifiers(proxy) == identifiers(proxy, "?proxy=pac")[:2]
    other = make_proxy()
    make_authority(other.ca.parent / "another", "ecdsa")
    other.ca.write_bytes((other.ca.parent / "another" / other.ca.name).read_bytes())
    assert not set(identifiers(proxy)) & set(identifiers(other))


def test_it_is_there_without_the_proxy_under_any_name(proxy):
    command = ["curl", "-sS", "-H", f"Host: proxy.example:{proxy.port}", f"{proxy.url}/ca.mobileconfig"]
    body = subprocess.run(command, capture_output=True, check=False).stdout
    assert plistlib.loads(body)["PayloadType"] == "Configuration"


def test_a_damaged_certificate_makes_no_profile(proxy, curl):
    proxy.ca.write_bytes(b"damaged")
    assert b" 503" in curl(proxy, "-i", PROFILE).stdout


def test_it_is_described_in_the_language_that_is_asked_for(proxy, curl):
    whole = plistlib.loads(curl(proxy, "-H", "Accept-Language: ja", PROFILE).stdout)
    assert "プロキシ" in whole["PayloadDescription"]
