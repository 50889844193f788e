"""What a person's question is about, and as what it is checked."""

import pytest

from secondlook.core.digest import file_hash
from secondlook.core.subject import FileSubject, UrlSubject
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Step, SubjectClass, Verdict
from secondlook.run.assembly.answers.explaining import (
    NoSubjectError,
    context_of,
    explanation,
    subject_from,
    subject_of_file,
)

SHA = "ab" * 32
DECISION = Decision(
    Action.ALLOW,
    Evidence(
        verdict=Verdict.UNKNOWN,
        risk=Risk.UNTESTED,
        stage=Stage.PATTERN,
        steps=(Step(Stage.PATTERN, "no hit", None, 0.12345),),
    ),
)


@pytest.mark.parametrize("text", [" example.org ", "https://example.org/a b", "example.org/a b"])
def test_what_looks_like_an_address_is_one(suffixes, text):
    assert isinstance(subject_from(text, suffixes), UrlSubject)


@pytest.mark.parametrize(("text", "kind"), [(SHA, "sha256"), (SHA[:40].upper(), "sha1"), (SHA[:32], "md5")])
def test_a_digest_is_a_file(suffixes, text, kind):
    found = subject_from(text, suffixes)
    assert isinstance(found, FileSubject)
    assert (found.hashes, found.labels) == ((file_hash(kind, text),), (kind,))


@pytest.mark.parametrize("text", ["", "two words", "my file.exe"])
def test_words_are_neither(suffixes, text):
    with pytest.raises(NoSubjectError, match="expected a URL or a digest"):
        subject_from(text, suffixes)


def test_a_file_is_known_by_every_digest_that_a_list_may_have(tmp_path):
    path = tmp_path / "setup.exe"
    path.write_bytes(b"MZ")
    found = subject_of_file(path)
    assert (found.labels, found.size, found.filename) == (("sha256", "sha1", "md5"), 2, "setup.exe")


def test_a_question_is_asked_as_its_client_would(suffixes):
    url, file = subject_from("http://a.test/setup.exe", suffixes), subject_from(SHA, suffixes)
    context = context_of(url, "a.test/setup.exe", "anna")
    assert (context.cls, context.client, context.user) == (SubjectClass.DOWNLOAD, "anna", "anna")
    assert (context.method, context.url) == ("GET", "a.test/setup.exe")
    assert context_of(subject_from("http://a.test/", suffixes), "a.test", None).cls is SubjectClass.PAGE
    assert context_of(file, SHA, None).cls is SubjectClass.DOWNLOAD


def test_an_explanation_has_what_there_is_of_each_kind(suffixes):
    url, file = subject_from("a.test", suffixes), subject_from(SHA, suffixes)
    of_url = explanation("a.test", url, context_of(url, "a.test", None), DECISION)
    assert (of_url["host"], of_url["canonical"], of_url["sha256"]) == ("a.test", "http://a.test/", None)
    assert of_url["stages"] == [
        {"stage": "pattern", "outcome": "no hit", "detail": None, "elapsed_ms": 0.123}
    ]
    of_file = explanation(SHA, file, context_of(file, SHA, None), DECISION)
    assert (of_file["host"], of_file["expressions"], of_file["kind"]) == (None, [], "file")
