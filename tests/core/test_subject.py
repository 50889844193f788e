"""What names a subject in queue, cache and ledger."""

from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.url.canonical import url_subject
from secondlook.suffix import load_suffixes


def test_the_first_hash_is_the_identity():
    file = FileSubject((b"1" * 32, b"2" * 32), labels=("sha256", "md5"))
    assert (file.identity, file.kind) == (b"1" * 32, SubjectKind.FILE)
    url = url_subject("http://a.test/b?c", load_suffixes())
    assert (url.identity, url.kind) == (url.hashes[0], SubjectKind.URL)
    assert url.expressions[0] == "a.test/b?c"
