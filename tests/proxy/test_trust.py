"""That a certificate of ours was taken is seen once."""

import asyncio

from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.proxy.access.trust import TrustSeen


def test_the_first_handshake_is_marked_and_no_later_one_costs_anything(tmp_path):
    seen = TrustSeen(tmp_path)

    async def first():
        marking = seen.tls_established_client(None)
        assert marking is not None
        await marking

    asyncio.run(first())
    assert FirstSteps(tmp_path).taken() == {Step.TRUST}
    assert seen.tls_established_client(None) is None
