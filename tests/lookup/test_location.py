"""On the intranet or away: by references that prove themselves, by networks, by servers."""

import asyncio
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lookup.certificates import Authority
from lookup.serving import until
from secondlook.config.query import Reference
from secondlook.core.answer import Tier
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.lookup import location
from secondlook.lookup.address_watch import local_addresses
from secondlook.lookup.location import answers, key_fingerprint

URL, FILE = SubjectKind.URL, SubjectKind.FILE
PAGE, SUBRESOURCE, DOWNLOAD = SubjectClass.PAGE, SubjectClass.SUBRESOURCE, SubjectClass.DOWNLOAD
PREFIX = b"abcd"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def far(monkeypatch):
    """Let servers on 127.0.0.1 count as being on another machine, as they would in the field."""
    monkeypatch.setattr("secondlook.lookup.client.is_loopback", lambda host: False)


def ask(lookup, tier, cls=PAGE, kind=URL):
    return lookup.ask(tier, kind, cls, [PREFIX], deadline=time.monotonic() + 30)


def test_a_reference_proves_itself_by_authority_or_by_its_pinned_key(run, serve, authority, tmp_path):
    async def main(stack):
        context, certificate = authority.server()
        server = await serve(stack, tls=context)
        pin = key_fingerprint(certificate.public_bytes(Encoding.DER))
        other = Authority(tmp_path, "another")
        assert await answers(Reference(url=server.url, ca=authority.path))
        assert await answers(Reference(url=server.url, pin=pin))
        assert await answers(Reference(url=server.url, pin="SHA256:" + pin.upper()))
        assert not await answers(Reference(url=server.url, pin="0" * 64))
        for unproven in (Reference(url=server.url), Reference(url=server.url, ca=other.path)):
            with pytest.raises(OSError, match="certificate"):
                await answers(unproven)
        plain = await serve(stack)
        assert not await answers(Reference(url=plain.url))

    run(main)


def test_a_server_on_this_machine_is_there_wherever_the_machine_is(run, serve, make_lookup):
    async def main(stack):
        server = await serve(stack)
        await server.stop()
        lookup = await make_lookup(stack, intranet=[{"url": server.url}])
        await asyncio.sleep(0.05)
        assert lookup.on_intranet
        assert lookup.tiers(URL, PAGE) == (Tier.INTRANET,)
        assert not lookup.awaited(URL, PAGE)

    run(main)


def test_away_and_back_switches_the_tier_both_ways(run, serve, make_lookup, authority, far, events):
    async def main(stack):
        own = await serve(stack, tls=authority.server()[0])
        public = await serve(stack)
        lookup = await make_lookup(
            stack,
            intranet=[{"url": own.url, "name": "own", "ca": str(authority.path)}],
            network={"url": public.url, "name": "public", "insecure": True},
            location={"check_every": 0.2},
            circuit={"failures": 2, "backoff_min": 0.1, "backoff_max": 0.2},
        )
        recovered = []
        lookup.on_recovery(recovered.append)
        assert lookup.tiers(URL, PAGE) == (Tier.INTRANET,)
        assert (await ask(lookup, Tier.INTRANET)).error is None
        assert lookup.fallback(Tier.INTRANET, URL, PAGE) is Tier.NETWORK
        assert lookup.fallback(Tier.NETWORK, URL, PAGE) is None

        await own.stop()
        await until(lambda: not lookup.on_intranet)
        assert lookup.tiers(URL, PAGE) == lookup.tiers(FILE, DOWNLOAD) == (Tier.NETWORK,)
        assert lookup.tiers(URL, PAGE) is lookup.tiers(URL, PAGE)
        assert not lookup.reachable(Tier.INTRANET)
        assert lookup.reachable(Tier.NETWORK)
        assert {status.state for status in lookup.status()} >= {"away"}
        refused = await ask(lookup, Tier.INTRANET)
        assert (refused.error, refused.attempts) == ("away from the intranet", ())
        assert (await ask(lookup, Tier.NETWORK)).answers[PREFIX].server == "public"
        assert lookup.awaited(URL, PAGE)  # noqa: PGH005 - no mock

        await own.start()
        await until(lambda: lookup.on_intranet)
        assert lookup.tiers(URL, PAGE) == (Tier.INTRANET,)
        assert "location" in recovered
        assert [d for d in events.details() if d.startswith("location")] == [
            "location: away from the intranet (no reference answers)",
            "location: on the intranet (own answers)",
        ]

    run(main)


def test_away_without_a_network_tier_own_servers_are_named_and_refused_at_once(
    run, serve, make_lookup, authority, far
):
    async def main(stack):
        own = await serve(stack, tls=authority.server()[0])
        await own.stop()
        lookup = await make_lookup(
            stack, intranet=[{"url": own.url, "ca": str(authority.path)}], location={"check_every": 0.1}
        )
        await until(lambda: not lookup.on_intranet)
        assert lookup.tiers(URL, PAGE) == (Tier.INTRANET,)
        refused = await ask(lookup, Tier.INTRANET)
        assert (refused.error, refused.attempts) == ("away from the intranet", ())

    run(main)


def test_a_network_of_ours_is_the_intranet_though_every_server_is_dead(
    run, serve, make_lookup, authority, far
):
    async def main(stack):
        here = [address for address in local_addresses() if address.version == 4]
        if not here:
            pytest.skip("this machine has no address but loopback")
        own = await serve(stack, tls=authority.server()[0])
        public = await serve(stack)
        await own.stop()
        lookup = await make_lookup(
            stack,
            intranet=[{"url": own.url, "name": "own", "ca": str(authority.path)}],
            network={"url": public.url, "insecure": True},
            location={"networks": [f"{here[0]}/32"], "check_every": 0.05},
            circuit={"failures": 1, "backoff_min": 60},
        )
        await asyncio.sleep(0.3)
        assert lookup.on_intranet
        failed = await ask(lookup, Tier.INTRANET)
        assert "refused" in failed.error
        # every intranet server is dead: the network tier stands in
        assert lookup.on_intranet
        assert lookup.tiers(URL, PAGE) == (Tier.NETWORK,)
        assert (await ask(lookup, Tier.NETWORK)).error is None

    run(main)


def test_a_configured_reference_decides_though_every_server_is_dead(run, serve, make_lookup, authority, far):
    async def main(stack):
        context, certificate = authority.server()
        reference = await serve(stack, tls=context)
        own = await serve(stack, tls=authority.server()[0])
        await own.stop()
        pin = key_fingerprint(certificate.public_bytes(Encoding.DER))
        lookup = await make_lookup(
            stack,
            intranet=[{"url": own.url, "name": "own", "ca": str(authority.path)}],
            location={"check_every": 0.2, "references": [{"url": reference.url, "pin": pin}]},
        )
        await until(lambda: reference.connections > 2)
        assert lookup.on_intranet
        await reference.stop()
        await until(lambda: not lookup.on_intranet)
        await reference.start()
        await until(lambda: lookup.on_intranet)

    run(main)


def test_a_plain_server_is_a_reference_only_where_nothing_better_is(run, serve, make_lookup, far):
    async def main(stack):
        plain = await serve(stack)
        alone = await make_lookup(
            stack, intranet=[{"url": plain.url, "insecure": True}], location={"check_every": 0.05}
        )
        await until(lambda: plain.requests)
        assert alone.on_intranet
        proven = await make_lookup(
            stack,
            intranet=[{"url": plain.url, "insecure": True}],
            location={"networks": ["198.51.100.0/24"], "check_every": 0.05},
        )
        await until(lambda: not proven.on_intranet)

    run(main)


def test_it_is_judged_again_when_addresses_change(run, serve, make_lookup, authority, far, monkeypatch):
    async def main(stack):
        own = await serve(stack)
        ours = [False]
        monkeypatch.setattr(
            location.Location, "_network_of_ours", lambda self: "address x in y" if ours[0] else None
        )
        lookup = await make_lookup(
            stack,
            intranet=[{"url": own.url, "insecure": True}],
            location={"networks": ["198.51.100.0/24"], "check_every": 3600},
        )
        await until(lambda: not lookup.on_intranet)
        await asyncio.sleep(0)
        ours[0] = True
        lookup._location._watch._on_change()  # what the kernel's word leads to (test_address_watch)
        await until(lambda: lookup.on_intranet)

    run(main)
