"""Content encodings, undone piece by piece: the same bytes as at once, in bounded memory, for any input."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxykit.gate import cut
from proxykit.samples import ENCODERS
from secondlook.download.body.decoding import RATIO_FROM_BYTES, Decoder, DecodeState, encodings_of


def _decode(encodings: tuple[str, ...], pieces: list[bytes]) -> tuple[bytes, DecodeState]:
    decoder = Decoder(encodings, ratio=1000)
    out = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    out += decoder.finish()
    return b"".join(out), decoder.state


@settings(max_examples=150, deadline=None)
@given(
    body=st.one_of(st.binary(max_size=5000), st.integers(0, 300_000).map(lambda n: b"abcdefg" * (n // 7))),
    chain=st.lists(st.sampled_from(sorted(ENCODERS)), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 10**6), max_size=6),
)
def test_any_body_any_chain_any_pieces(body, chain, cuts):
    raw = body
    for name in chain:
        raw = ENCODERS[name](raw)
    encodings, known = encodings_of(", ".join(chain), 4)
    assert known
    assert _decode(encodings, cut(raw, cuts)) == (body, DecodeState.DONE)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_bomb_is_given_up(name):
    decoder = Decoder((name,), ratio=50)
    bomb = ENCODERS[name](b"\0" * (64 << 20))
    most = 0
    for start in range(0, len(bomb), 1000):
        most = max(most, sum(map(len, decoder.feed(bomb[start : start + 1000]))))
    list(decoder.finish())
    assert decoder.state is DecodeState.OVER
    assert decoder.out_bytes < max(RATIO_FROM_BYTES, 50 * len(bomb)) + (16 << 20)
    assert most < 16 << 20


@pytest.mark.parametrize("name", ENCODERS)
def test_a_truncated_body_is_broken(name):
    _, state = _decode((name,), [ENCODERS[name](b"hello " * 10_000)[:-3]])
    assert state is DecodeState.BROKEN


@pytest.mark.parametrize(
    ("header", "expected", "known"),
    [
        (None, (), True),
        ("identity", (), True),
        ("gzip", ("gzip",), True),
        ("GZIP , br", ("br", "gzip"), True),
        ("x-gzip", ("gzip",), True),
        ("gzip\tbr", ("br", "gzip"), True),
        ("gzip, gzip, gzip, gzip, gzip", (), False),
        ("dcb", (), False),
        ("foo, br", ("br",), False),
        ("br foo, gzip", ("gzip", "br"), False),
    ],
)
def test_headers(header, expected, known):
    assert encodings_of(header, 4) == (expected, known)
