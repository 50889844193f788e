"""The end of a zip behind other bytes; which ends unzip and others open: `test_archive.py`."""

from proxykit.samples import zipped
from secondlook.download.body.zip_end import ZIP_END_BYTES, ends_like_zip


def test_ends_of_a_zip_without_number_hide_none():
    body = b"something" * 30 + zipped({"readme": b"hi"}) + b"PK\5\6" * 10_000
    assert ends_like_zip(body[-ZIP_END_BYTES:], len(body))


def test_the_end_of_a_program_is_no_zip_for_a_name_in_it():
    for body in (
        b"MZ" + bytes(100) + b"PK\x05\x06" + bytes(range(200)),
        b"MZPK\x05\x06",
        b"PK\x05\x06" + bytes(18),
    ):
        assert not ends_like_zip(body, len(body))
