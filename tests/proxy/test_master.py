"""What mitmproxy is told: the operator's options first, and origins are verified by what this machine trusts."""

import asyncio

import pytest

from secondlook.proxy.mitm import master


def told(tmp_path, given):
    async def make():
        return master.make_options(str(tmp_path), "regular", given).ssl_verify_upstream_trusted_ca

    return asyncio.run(make())


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    path = tmp_path / "bundle.crt"
    path.write_text("")
    monkeypatch.setattr(master, "SYSTEM_STORES", (str(tmp_path / "none.crt"), str(path)))
    return str(path)


def test_origins_are_verified_by_the_systems_store(tmp_path, bundle):
    assert told(tmp_path, {}) == bundle


def test_the_operators_choice_stands(tmp_path, bundle):
    own = f"{bundle}.own"
    assert told(tmp_path, {"ssl_verify_upstream_trusted_ca": own}) == own
    assert told(tmp_path, {"ssl_verify_upstream_trusted_confdir": str(tmp_path)}) is None


def test_without_a_store_mitmproxys_own_list_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(master, "SYSTEM_STORES", (str(tmp_path / "none.crt"),))
    assert told(tmp_path, {}) is None
