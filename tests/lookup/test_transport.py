"""By which way a server is reached, and whose certificates count there."""

import httpcore
import pytest

from lookup.certificates import Authority
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.lookup.transport import make_transport, user_agent


def pool_of(url, *, ca=None, proxy=None):
    return make_transport(url, ca=ca, proxy=proxy, connections=3)._pool


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("https://server.test/", True),
        ("http://127.0.0.1:8080/", False),
        ("http://localhost:8080/", False),
        ("http://[::1]:8080/", False),
    ],
)
def test_a_proxy_stands_before_every_server_but_those_of_this_machine(url, proxied):
    pool = pool_of(
        url, proxy=UpstreamProxySettings(url="http://proxy.test:3128", user="me", password="secret")
    )
    assert isinstance(pool, httpcore.AsyncHTTPProxy) == proxied


def test_only_tls_may_be_http2_and_connections_are_bounded():
    secure, plain = pool_of("https://server.test/"), pool_of("http://127.0.0.1:8080/")
    assert (secure._http2, plain._http2) == (True, False)
    assert secure._max_connections == secure._max_keepalive_connections == 3


def test_an_authority_of_its_own_is_the_only_one_and_the_proxy_s_counts_too(tmp_path):
    own, looking = Authority(tmp_path, "own authority"), Authority(tmp_path, "proxy authority")
    proxy = UpstreamProxySettings(url="http://proxy.test:3128", ca=looking.path)
    alone = pool_of("https://server.test/", ca=str(own.path))._ssl_context
    assert [each["subject"] for each in alone.get_ca_certs()] == [((("commonName", "own authority"),),)]
    both = pool_of("https://server.test/", ca=str(own.path), proxy=proxy)._ssl_context
    assert len(both.get_ca_certs()) == 2
    public = pool_of("https://server.test/")._ssl_context
    assert len(public.get_ca_certs()) > 50


def test_a_file_that_holds_no_certificate_is_an_error(tmp_path):
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(OSError):
        pool_of("https://server.test/", ca=str(tmp_path / "none.pem"))
    with pytest.raises(OSError):
        pool_of("https://server.test/", ca=str(tmp_path / "missing.pem"))


def test_the_client_names_itself():
    assert user_agent().startswith("secondlook ")
