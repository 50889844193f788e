"""The operator's own hosts: named by the settings or a certificate, and nothing that is not theirs."""

import datetime as dt
import ipaddress
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secondlook.config.agent import Settings
from secondlook.config.own_hosts import own_hosts
from secondlook.config.service import ServerSettings


@pytest.fixture(autouse=True)
def _named_plainly(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "proxy")


def hosts_of(**settings):
    return own_hosts(Settings(**settings))


def certificate(folder, *names):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lists")])
    since = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, since, since)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    files = {"cert": folder / "lists.pem", "key": folder / "lists.key"}
    files["cert"].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return files


def test_what_the_proxy_asks_and_stands_on_is_its_own():
    assert hosts_of(
        servers={
            "intranet": [{"url": "https://Lists.office.example:5274/"}],
            "location": {"references": [{"url": "https://intranet.office.example"}]},
        },
        feeds=[{"name": "a", "url": "https://feeds.example/a.txt"}],
        upstream_proxy={"url": "http://gate.office.example:3128"},
        ledger="postgresql://me:p%40ss@one.example:5432,two.example:5432/log?target_session_attrs=primary",
        listen="192.0.2.7:8080",
        clients={"networks": ["192.0.2.0/24"]},
        mode="upstream:http://next.office.example:3128",
    ) == (
        "192.0.2.7/*",
        "feeds.example",
        "gate.office.example/*",
        "intranet.office.example",
        "lists.office.example/*",
        "next.office.example",
        "one.example",
        "two.example",
    )


def test_what_is_only_judged_in_another_way_is_not():
    assert (
        hosts_of(
            passthrough={"hosts": ["bank.example"]},
            log={"ignore": ["*.private.example"]},
            pattern={"may_block": ["google.com"]},
            notify={"urls": ["https://hooks.example/secret"]},
            feeds=[{"name": "a", "path": "/a", "headers": {"Referer": "https://refer.example/"}}],
        )
        == ()
    )


def test_nothing_without_a_domain_and_nothing_of_this_machine():
    servers = ["http://127.0.0.1:5274", "http://[::1]:5274", "http://localhost", "https://publisher:5274"]
    assert hosts_of(servers={"intranet": [{"url": url} for url in servers]}) == ()
    assert own_hosts(ServerSettings(listen=("0.0.0.0:5274", "[::]:5274"), tokens=False)) == ()


def test_the_pages_of_a_server_are_its_own_even_where_a_feed_comes_from_it_too():
    url = "https://lists.office.example/blocked.txt"
    served = {"feeds": [{"name": "a", "url": url}], "upstream_proxy": {"url": "http://lists.office.example"}}
    assert hosts_of(**served) == ("lists.office.example/*",)


def test_addresses_are_hosts_too():
    servers = [{"url": "https://192.0.2.1:5274"}, {"url": "https://[2001:db8::1]:5274"}]
    assert hosts_of(servers={"intranet": servers}) == ("192.0.2.1/*", "2001:db8::1/*")


def test_the_name_of_this_machine_is_its_own(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "proxy.office.example")
    assert hosts_of() == ("proxy.office.example/*",)


def test_a_server_is_what_its_certificate_names(tmp_path):
    named = x509.DNSName("lists.office.example"), x509.DNSName("*.cdn.office.example")
    address = x509.IPAddress(ipaddress.ip_address("192.0.2.9"))
    settings = ServerSettings(
        store="valkeys+cluster://:p,ss@one.example:6379,two.example:6379",
        tls=certificate(tmp_path, *named, address),
    )
    served = ("192.0.2.9/*", "cdn.office.example/*", "lists.office.example/*")
    assert own_hosts(settings) == (*served, "one.example", "two.example")


@pytest.mark.parametrize(
    "content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_certificate_that_names_nobody_or_cannot_be_read_adds_nobody(tmp_path, content):
    files = certificate(tmp_path)
    if content is not None:
        files["cert"].write_bytes(content)
    assert own_hosts(ServerSettings(tls=files)) == ()
    files["cert"].unlink()
    assert own_hosts(ServerSettings(tls=files)) == ()
