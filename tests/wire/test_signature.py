"""A signature is of one list in one version, by one key."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from secondlook.wire.signature import is_signed, list_is_signed, public_text, read_public_key, sign_list

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
LIST = ("mw-8b", b"version", b"c" * 32)


def test_what_was_signed_is_signed():
    assert list_is_signed(PUBLIC, *LIST, sign_list(KEY, *LIST))


@pytest.mark.parametrize(
    "other",
    [
        ("se-8b", b"version", b"c" * 32),
        ("mw-8b", b"Version", b"c" * 32),
        ("mw-8b", b"version", b"d" * 32),
        ("mw-8b", b"versio", b"n" + b"c" * 31),
    ],
)
def test_of_nothing_else(other: tuple[str, bytes, bytes]):
    assert not list_is_signed(PUBLIC, *other, sign_list(KEY, *LIST))


def test_by_nobody_else():
    stranger = Ed25519PrivateKey.generate()
    assert not list_is_signed(PUBLIC, *LIST, sign_list(stranger, *LIST))
    assert not list_is_signed(PUBLIC, *LIST, b"")


def test_what_is_signed_never_changes():
    message = b"secondlook list\0mw-8b\0\0\x07version" + b"c" * 32
    assert sign_list(KEY, *LIST) == KEY.sign(message)
    assert is_signed(PUBLIC, message, KEY.sign(message))


@pytest.mark.parametrize("form", [public_text, lambda key: base64.b64encode(key.public_bytes_raw()).decode()])
def test_a_key_is_read_in_either_form(form):
    assert read_public_key(f" {form(PUBLIC)}\n") == PUBLIC


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 31, "AAAA", "not a key", "é" * 32])
def test_what_is_no_key_says_what_one_is(text):
    with pytest.raises(ValueError, match="expected an Ed25519 public key: 64 hex digits or base64"):
        read_public_key(text)
