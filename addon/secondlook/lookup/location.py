"""Where the machine is: on the intranet, or away from it.

On the intranet when a local address lies in a configured network, or when a *reference* answers: a
configured address over verified TLS (or with its pinned key), or an intranet server over verified
TLS. Plain `http://` proves nothing about who answers, so such a server is a reference only where
nothing better is configured; a server on this machine's loopback is there wherever the machine is.

```
known as    event                                           does
any         start, addresses or default route changed       judge
any         every `check_every`                             judge
intranet    every intranet circuit is open                  judge
away        an intranet server answers a probe              judge
away        backoff 1 s, 2 s … `check_every`                judge
```

Until the first judgement the machine counts as on the intranet.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from secondlook.config.query import LocationSettings, Reference
from secondlook.core.asking.schedule import Backoff
from secondlook.ground.tasks import woken
from secondlook.ground.trust import trust
from secondlook.lookup.address_watch import AddressWatch, local_addresses
from secondlook.lookup.member import TierMember

log = logging.getLogger(__name__)

REFERENCE_TIMEOUT_S: Final = 2.0


class Location:
    """Judges the location; `on_change(on_intranet, why)` hears of each change.

    `probe(member)` asks an intranet server and returns whether it answered.
    """

    def __init__(
        self,
        settings: LocationSettings,
        members: Sequence[TierMember],
        *,
        probe: Callable[[TierMember], Awaitable[bool]],
        on_change: Callable[[bool, str], None],
        draw: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._networks = tuple(ipaddress.ip_network(network) for network in settings.networks)
        self._probe = probe
        self._on_change = on_change
        self._draw = draw
        self._backoff = Backoff(1.0, settings.check_every)
        self._fixed = not members or any(member.client.loopback for member in members)
        verified = tuple(member for member in members if member.client.verified)
        proven = bool(verified or settings.references or settings.networks)
        self._members = verified if proven else tuple(members)
        self._watch = AddressWatch(self.judge_soon)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_intranet = True

    def start(self) -> None:
        """Begin to judge and keep watch; does nothing where the answer cannot change."""
        if self._fixed:
            return
        self._watch.start()
        self._wake.set()
        self._task = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Stop watching."""
        self._watch.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def judge_soon(self) -> None:
        """Judge again: something has changed."""
        self._wake.set()

    async def _keep(self) -> None:
        away = 0  # judgements in a row
        while True:
            wait_s = self._settings.check_every
            if away:
                wait_s = min(wait_s, self._backoff.delay_s(away, self._draw()))
            await woken(self._wake, wait_s)
            self._wake.clear()
            await self._judge()
            away = 0 if self.on_intranet else away + 1

    async def _judge(self) -> None:
        try:
            why = self._network_of_ours() or await self._answering()
        except Exception:
            log.exception("cannot judge the location")
            return
        on_intranet = why is not None
        if on_intranet != self.on_intranet:
            self.on_intranet = on_intranet
            self._on_change(on_intranet, why or "no reference answers")

    def _network_of_ours(self) -> str | None:
        if not self._networks:
            return None
        for address in local_addresses():
            for network in self._networks:
                if address.version == network.version and address in network:
                    return f"address {address} in {network}"
        return None

    async def _answering(self) -> str | None:
        """Name of the first reference that answers, None when all have failed."""
        checks = [
            asyncio.ensure_future(self._ask_reference(reference)) for reference in self._settings.references
        ]
        checks += [asyncio.ensure_future(self._ask_member(member)) for member in self._members]
        try:
            for check in asyncio.as_completed(checks):
                if (name := await check) is not None:
                    return name
        finally:
            for task in checks:
                task.cancel()
            await asyncio.gather(*checks, return_exceptions=True)
        return None

    async def _ask_member(self, member: TierMember) -> str | None:
        return f"{member.name} answers" if await self._probe(member) else None

    async def _ask_reference(self, reference: Reference) -> str | None:
        try:
            async with asyncio.timeout(REFERENCE_TIMEOUT_S):
                return f"{reference.url} answers" if await answers(reference) else None
        except (OSError, ssl.SSLError, ValueError) as error:
            log.debug("reference %s does not answer: %s", reference.url, error)
            return None


async def answers(reference: Reference) -> bool:
    """Return whether a reference proves itself in a TLS handshake. Raise OSError when that fails."""
    parts = urlsplit(reference.url)
    if parts.scheme != "https" or parts.hostname is None:
        return False
    if reference.pin is None:
        context = trust(None if reference.ca is None else str(reference.ca), only=reference.ca is not None)
    else:  # the key alone counts, whoever signed for it
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(
        parts.hostname, parts.port or 443, ssl=context, server_hostname=parts.hostname
    )
    try:
        if reference.pin is None:
            return True
        tls = writer.get_extra_info("ssl_object")
        return key_fingerprint(tls.getpeercert(binary_form=True)) == _hex(reference.pin)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def key_fingerprint(certificate: bytes) -> str:
    """SHA-256 (hex) of the public key (SubjectPublicKeyInfo) in a DER certificate."""
    from cryptography import x509  # noqa: PLC0415 - slow to import, and few pin a key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _hex(pin: str) -> str:
    return pin.lower().removeprefix("sha256:").replace(":", "")
