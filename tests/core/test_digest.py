"""Digests against published values."""

import hashlib

import pytest

from secondlook.core.digest import (
    EMPTY_FILE,
    digest_kind,
    file_hash,
    file_subject,
    sha256,
)

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def test_sha256_of_an_expression():
    # the example of Safe Browsing v5
    assert (
        sha256(b"a.example.com/").hex() == "291bc5421f1cd54d99afcc55d166e2b9fe42447025895bf09dd41b2110a687dc"
    )


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
def test_kind_is_told_by_length(kind):
    digest = hashlib.new(kind, EICAR).hexdigest()
    assert digest_kind(digest) == kind
    assert digest_kind(digest.upper()) == kind
    assert digest_kind(digest[:-1]) is None
    assert digest_kind("x" + digest[1:]) is None


def test_a_sha256_stands_for_itself_and_others_are_hashed_as_text():
    assert file_hash("sha256", hashlib.sha256(EICAR).hexdigest().upper()) == hashlib.sha256(EICAR).digest()
    md5 = hashlib.md5(EICAR).hexdigest()
    assert file_hash("md5", md5.upper()) == hashlib.sha256(f"md5:{md5}".encode()).digest()
    sha1 = hashlib.sha1(EICAR).hexdigest()
    assert file_hash("sha1", sha1) == hashlib.sha256(f"sha1:{sha1}".encode()).digest()


@pytest.mark.parametrize(
    ("kind", "text"), [("md5", "00"), ("sha1", "g" * 40), ("sha256", "0x" + "0" * 62), ("md5", "")]
)
def test_what_is_no_digest_is_refused(kind, text):
    with pytest.raises(ValueError, match=kind):
        file_hash(kind, text)


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
def test_the_empty_file_is_known(kind):
    assert EMPTY_FILE[kind] == hashlib.new(kind, b"").hexdigest()


def test_file_subject_labels_every_hash():
    own, member = sha256(EICAR), sha256(b"member")
    subject = file_subject(
        own, md5="0" * 32, sha1="1" * 40, further=(("member:a.exe", member),), size=68, filename="eicar.com"
    )
    assert subject.identity == own
    assert dict(zip(subject.labels, subject.hashes, strict=True)) == {
        "sha256": own,
        "sha1": file_hash("sha1", "1" * 40),
        "md5": file_hash("md5", "0" * 32),
        "member:a.exe": member,
    }
