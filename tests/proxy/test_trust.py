"""That a certificate of ours was taken is seen, and seldom written."""

import asyncio

from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.proxy.access import trust
from secondlook.proxy.access.trust import TrustSeen


def test_the_first_handshake_is_marked_and_those_at_once_after_it_cost_nothing(tmp_path, monkeypatch):
    seen, steps = TrustSeen(tmp_path), FirstSteps(tmp_path)

    async def marked():
        marking = seen.tls_established_client(None)
        assert marking is not None
        await marking
        assert steps.taken() == {Step.TRUST}

    monkeypatch.setattr(trust, "AGAIN_S", 0.0)
    asyncio.run(marked())
    steps.forget(Step.TRUST)  # as `setup ca off` does
    monkeypatch.setattr(trust, "AGAIN_S", 3600.0)
    asyncio.run(marked())
    assert seen.tls_established_client(None) is None
