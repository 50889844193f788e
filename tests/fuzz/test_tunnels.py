"""The first bytes of a connection, as any client may send and cut them."""

import ssl

from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from proxykit.greetings import FIRST_BYTES, client_hello
from secondlook.core.protocol import Protocol, name_of, recognise

KNOWN = [data[:2000] for data in FIRST_BYTES]


@fuzz(data=mutated(KNOWN), patient=st.booleans())
def test_cut_anywhere(data, patient):
    """What was told of a beginning is told of all that begins so, and what is waited for is told at last."""
    cuts = [recognise(data[:size], patient=patient) for size in range(min(len(data), 600) + 1)]
    cuts.append(recognise(data, patient=patient))
    told = [each for each in cuts if each is not None]
    if patient:
        assert len(set(told)) <= 1
        assert cuts[len(cuts) - len(told) :] == told
    assert name_of(data)
    assert recognise(data + b"\n" * 9000, patient=patient) is not None or not data.strip()


@fuzz(
    name=st.from_regex(r"[a-z]{1,20}(\.[a-z]{2,10}){1,3}", fullmatch=True),
    protocols=st.lists(st.sampled_from(["h2", "http/1.1", "x" * 200]), max_size=3),
    newest=st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]),
    cut=st.integers(0, 3000),
)
def test_a_real_hello(name, protocols, newest, cut):
    """A ClientHello is TLS, or waited for while fewer than three bytes of it are there."""
    hello = client_hello(name, protocols, newest)
    told = recognise(hello[:cut])
    assert told is (Protocol.TLS if min(cut, len(hello)) > 2 else None)
