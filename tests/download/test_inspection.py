"""What the bytes of a body show while they go by."""

import hashlib

import pytest

from proxykit.samples import gzipped
from secondlook.download.body.body_type import declared
from secondlook.download.body.inspection import BodyLook

BODY = b"MZ" + bytes(5000)


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_each_digest_is_taken_once(encoding, monkeypatch):
    """Lists name SHA-256 too, which every body has anyway: taking it again would cost each download as much."""
    made = []

    def counting(make):
        return lambda *given, **named: made.append(machine := make(*given, **named)) or machine

    monkeypatch.setattr("secondlook.download.body.inspection.hashlib.sha256", counting(hashlib.sha256))
    monkeypatch.setattr("secondlook.download.body.inspection.hashlib.new", counting(hashlib.new))
    look = BodyLook(
        declared("application/octet-stream", None, "/x"),
        encoding,
        kinds=frozenset({"sha256", "md5"}),
        ratio=1000,
        layers=3,
        multipart=False,
    )
    forms = [BODY] if encoding is None else [gzipped(BODY), BODY]
    look.feed(forms[0])
    look.end()
    assert sorted(machine.name for machine in made) == ["md5"] * len(forms) + ["sha256"] * len(forms)
    monkeypatch.undo()
    digests = {hashlib.new(kind, form).digest() for kind in ("md5", "sha256") for form in forms}
    assert {hashlib.sha256(form).digest() for form in forms} <= set(look.subject().hashes)
    assert len(look.subject().hashes) == len(digests)


@pytest.mark.parametrize("size", [1, 7, 2048, 40_000])
@pytest.mark.parametrize(
    ("at", "mark", "holds"),
    [
        (0x8001, b"CD001", True),
        (0x8001, b"BEA01", True),
        (0x8001, b"CD002", False),
        (1024, b"H+\0\4", True),
        (1024, b"HX\0\5", True),
        (1024, b"H+\0\5", False),
        (5000, b"koly\0\0\0\4" + bytes(504), True),
        (5000, b"koly\0\0\0\4" + bytes(505), False),
        (5000, b"conectix" + bytes(504), True),
        (5000, b"cdsaencr", True),
    ],
)
def test_a_disk_image_is_one_whatever_it_begins_with(at, mark, holds, size):
    body = b"Q" * at + mark + (bytes(2000) if len(mark) < 8 else b"")
    look = BodyLook(
        declared("application/octet-stream", None, "/x"),
        None,
        kinds=frozenset(),
        ratio=1,
        layers=1,
        multipart=False,
    )
    for start in range(0, len(body), size):
        look.feed(body[start : start + size])
    look.end()
    assert look.holds_archive == holds
