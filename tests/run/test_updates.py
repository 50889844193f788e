"""From which servers lists are taken: all of the settings, each with what was set for it."""

import asyncio
import contextlib
from base64 import b64encode
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from secondlook.config.agent import Settings
from secondlook.core.answer import EMBEDDED, GOOGLE, Tier
from secondlook.run.assembly.background.updates import make_updater, sources_of
from secondlook.run.assembly.check.ledger_opening import open_ledger
from secondlook.run.assembly.check.parts import Parts

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key()
BASE64 = b64encode(KEY.public_bytes_raw()).decode()
OWN = {
    "url": "https://one.example",
    "name": "one",
    "key": KEY.public_bytes_raw().hex(),
    "trusted_allow": True,
}
TWO = {"url": "https://two.example", "fresh_for": 60}
OFFICIAL = {"url": "https://safebrowsing.googleapis.com", "key": "secret"}


@contextmanager
def parts_with(tmp_path, **servers):
    settings = Settings.model_validate({"state": tmp_path, "servers": servers})
    with contextlib.closing(open_ledger(settings, keeper=True)) as ledger:
        yield Parts.build(settings, ledger)


def test_each_server_of_the_settings_is_a_source(tmp_path):
    with parts_with(tmp_path, embedded=False, intranet=[OWN, TWO], network=OFFICIAL) as parts:
        one, two, google = sources_of(parts)
    assert (one.name, one.tier, one.key, one.trusted_allow) == ("one", Tier.INTRANET, KEY, True)
    assert (two.name, two.key, two.trusted_allow, two.fresh_for_s) == ("two.example", None, False, 60.0)
    assert (google.tier, google.google, google.source, google.key) == (Tier.NETWORK, True, GOOGLE, None)
    assert not any(each.announced for each in (one, two, google))


def test_the_embedded_server_is_one_as_soon_as_it_listens(tmp_path):
    async def scene(parts):
        assert list(sources_of(parts)) == []
        await parts.lookup.set_local("http://127.0.0.1:1")
        [embedded] = sources_of(parts)
        await parts.lookup.aclose()
        return embedded

    with parts_with(tmp_path, embedded={"trusted_allow": False}) as parts:
        embedded = asyncio.run(scene(parts))
    assert (embedded.name, embedded.tier, embedded.announced) == (EMBEDDED, Tier.LOCAL, True)
    assert not embedded.trusted_allow


@pytest.mark.parametrize("text", [KEY.public_bytes_raw().hex().upper(), " " + BASE64 + " "])
def test_a_key_is_read_in_every_form_that_the_settings_take(tmp_path, text):
    with parts_with(tmp_path, embedded=False, intranet=[OWN | {"key": text}]) as parts:
        [source] = sources_of(parts)
    assert source.key == KEY


def test_the_updater_looks_at_these_servers(tmp_path):
    with parts_with(tmp_path, embedded=False, intranet=[OWN]) as parts:
        updater = make_updater(parts)
        assert updater._schedule.sources == list(sources_of(parts))
