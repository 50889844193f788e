"""mitmproxy's master with only the addons a checking proxy needs.

Left out are the ones that read, save, replay, edit or show flows: half of a request's time went into asking
them (docs/decisions/2026-11-23-leaning-on-mitmproxy.md). Ours comes after `proxyauth` (who asks is known) and
before `next_layer` (ours picks the layers).
"""

import asyncio
from pathlib import Path
from typing import Any

from mitmproxy import ctx, hooks, http, master, options, optmanager
from mitmproxy.addons import (
    block,
    core,
    dns_resolver,
    errorcheck,
    next_layer,
    proxyserver,
    strip_dns_https_records,
    tlsconfig,
    update_alt_svc,
    upstream_auth,
)
from mitmproxy.certs import CertStore
from mitmproxy.connection import Client, Server
from mitmproxy.options import CONF_BASENAME
from mitmproxy.proxy.layers.http import is_h3_alpn
from mitmproxy.proxy.layers.tls import HTTP1_ALPNS
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.tls import TlsData

from secondlook.proxy.mitm.hook_table import HookTable
from secondlook.proxy.mitm.tls.certificates import Key, SiteCertificates
from secondlook.proxy.mitm.tls.origin_name import STAND_IN, compare, is_compared, sni_of
from secondlook.proxy.mitm.tls.tls_sessions import OriginSessions, TicketKeys, bind_tickets
from secondlook.proxy.mitm.tls.tunnel import HTTP_OVER_TCP

# What this machine trusts, for the proxy as for every other program on it; without one mitmproxy's own list.
# The environment is not asked: SSL_CERT_FILE often names our own authority, for clients of the proxy.
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, the BSDs
)

STREAMED_MODES = frozenset({"regular", "upstream", "reverse", "socks5", "transparent"})
"""Modes whose connections come through a listening TCP socket: these can share it between workers."""


_REVOKED = b".crl"
_UNCHANGING = str | int | float | None  # types of options' values


def _trust_fields(_message: http.MessageData) -> None:
    """Do nothing."""


# mitmproxy compares the type of every field of every message with its annotation (`if __debug__`): a check of
# its own code that costs 6 % of a request.
http.MessageData.__post_init__ = _trust_fields  # type: ignore[method-assign, assignment, unused-ignore]


class QuickOptions(options.Options):
    """mitmproxy's options, which copies each value whenever it is read, also one that cannot change."""

    def __getattr__(self, name: str) -> Any:
        option = self._options.get(name)
        if option is not None:
            value = option._default if option.value is optmanager.unset else option.value  # noqa: SLF001
            if isinstance(value, _UNCHANGING):
                return value
        return super().__getattr__(name)


class OwnKeyTls(tlsconfig.TlsConfig):
    """mitmproxy's TLS, with certificates for sites on a key of their own, and sessions that last."""

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._key = key
        self._tickets = TicketKeys()
        self._origins = OriginSessions()

    def configure(self, updated: set[str]) -> None:
        """Load the authority, and the certificates that the operator gave for some names."""
        super().configure(updated)
        store: CertStore | None = self.certstore  # None until the folder's name has come
        if store is not None and not isinstance(store, SiteCertificates):
            authority = Path(ctx.options.confdir).expanduser() / f"{CONF_BASENAME}-ca.pem"
            self.certstore = SiteCertificates(store, self._key, authority)

    def tls_start_client(self, tls_start: TlsData) -> None:
        """Begin TLS with a client."""
        self._tickets.renew()
        client = _without_quic(tls_start)
        super().tls_start_client(tls_start)
        tls = tls_start.ssl_conn
        if tls is None:
            return
        if ctx.options.request_client_cert:
            bind_tickets(tls)
        agreed: tlsconfig.AppData = tls.get_app_data()
        if agreed["server_alpn"] is None:  # mitmproxy would agree to the first of all that it knows
            known = HTTP_OVER_TCP if agreed["http2"] else HTTP1_ALPNS
            agreed["server_alpn"] = next((each for each in client.alpn_offers if each in known), b"")

    def tls_start_server(self, tls_start: TlsData) -> None:
        """Begin TLS with an origin, with a session of an earlier connection where there is one."""
        _without_quic(tls_start)
        self._begin_server(tls_start)
        server, tls = tls_start.conn, tls_start.ssl_conn
        if tls is not None and isinstance(server, Server) and not tls_start.is_dtls:
            client = tls_start.context.client.peername
            protocols = tuple(server.alpn_offers)
            key = (client and client[0], server.address, server.via, server.sni, protocols)  # type: ignore[redundant-expr]
            self._origins.offer(tls, key)

    def _begin_server(self, tls_start: TlsData) -> None:
        """Do as mitmproxy does, also with a name that OpenSSL compares with no certificate."""
        server, given = tls_start.conn, tls_start.ssl_conn is not None
        if given or not isinstance(server, Server) or server.address is None:
            super().tls_start_server(tls_start)
            return
        name = server.sni = sni_of(server.sni or tls_start.context.client.sni or server.address[0])
        compared = is_compared(name)
        if not compared:
            server.sni = STAND_IN
        try:
            super().tls_start_server(tls_start)
        finally:
            server.sni = name
        tls = tls_start.ssl_conn
        if not compared and tls is not None:
            compare(tls, name, verify=not ctx.options.ssl_insecure)

    def request(self, flow: http.HTTPFlow) -> None:
        """Answer for the list of revoked certificates, the only file of ours that mitmproxy names in them."""
        if flow.request.data.path.endswith(_REVOKED):
            super().request(flow)


def _without_quic(tls_start: TlsData) -> Client:
    """Forget a client's offers of HTTP/3, which runs over QUIC alone: here TLS is agreed on."""
    client = tls_start.context.client
    client.alpn_offers = [each for each in client.alpn_offers if not is_h3_alpn(each)]
    return client


class AltSvc(update_alt_svc.UpdateAltSvc):
    """mitmproxy's, which leads clients of a reverse proxy back to it."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Change the field where there is one."""
        if isinstance(flow.client_conn.proxy_mode, ReverseMode):
            super().responseheaders(flow)


class LeanMaster(master.Master):
    """A master without the walk over default addons; `server` is off: the listener accepts.

    `key` is that of the certificates for sites.
    """

    def __init__(self, opts: options.Options, key: Key, *, own: tuple[Any, ...], serve: bool) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(opts, event_loop=loop)
        self.started = asyncio.Event()
        self.addons = HookTable(self)
        self.proxyserver = proxyserver.Proxyserver()
        self.addons.add(
            core.Core(),
            block.Block(),
            strip_dns_https_records.StripDnsHttpsRecords(),
            *own,
            self.proxyserver,
            dns_resolver.DnsResolver(),
            next_layer.NextLayer(),
            OwnKeyTls(key),
            upstream_auth.UpstreamAuth(),
            AltSvc(),
            startup_check(),
        )
        opts.update(server=serve)

    async def running(self) -> None:
        """Note that everything is up: what mitmproxy listens on itself, in the modes where it does."""
        await super().running()
        self.started.set()

    def configure(self) -> None:
        """Hand every addon the options once, as nothing else may have changed since they were made.

        TLS versions left at their default are left out: mitmproxy would test which ones OpenSSL supports, and
        that fails on builds without SSL 3.
        """
        options = self.options
        changed = {
            name
            for name in options.keys()  # noqa: SIM118 - not a mapping
            if not name.startswith("tls_version_") or options.has_changed(name)
        }
        self.addons.trigger(hooks.ConfigureHook(changed))


def startup_check() -> errorcheck.ErrorCheck:
    """Make what ends a start that failed inside mitmproxy; errors of ours, such as a full disk, do not."""
    check = errorcheck.ErrorCheck()
    check.logger.addFilter(lambda record: record.name.startswith("mitmproxy"))
    return check


def make_options(
    confdir: str, mode: str, given: dict[str, object], listen: tuple[str, int] | None = None
) -> options.Options:
    """Build mitmproxy's options; `given` is what the operator set, with mitmproxy's own names.

    `listen` is for modes in which mitmproxy listens itself. Options of addons are known only once the addons
    are loaded: they are deferred.
    """
    opts = QuickOptions()
    opts.update(confdir=confdir, mode=[mode])
    if listen is not None:
        opts.update_defer(listen_host=listen[0], listen_port=listen[1])
    fixed: dict[str, object] = {
        "connection_strategy": "lazy",  # a blocked origin is never contacted
        "block_global": False,  # `clients` names who may use the proxy
        "block_private": False,
        "websocket": True,
    }
    trusted = next((path for path in SYSTEM_STORES if Path(path).is_file()), None)
    if trusted is not None and "ssl_verify_upstream_trusted_confdir" not in given:
        given = {"ssl_verify_upstream_trusted_ca": trusted, **given}
    opts.update_defer(**given, **fixed)
    return opts
