"""What an exception may be made of."""

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.event import Event, EventKind
from secondlook.core.verdict import SubjectClass
from secondlook.refusal.language import ENGLISH
from secondlook.site.exceptions import BlockExceptions, PassageExceptions


def event(**more):
    values = {
        "id": "01E",
        "kind": EventKind.BLOCKED,
        "time": 1.0,
        "subject": "url",
        "cls": SubjectClass.PAGE,
        "url": "http://bad.test/",
        "stage": "pattern",
    }
    return Event(**(values | more))


@pytest.mark.parametrize(
    ("more", "lasting_s"),
    [
        ({}, 600.0),
        ({"cls": SubjectClass.SUBRESOURCE}, 600.0),
        ({"stage": "unverifiable"}, 600.0),
        ({"cls": SubjectClass.DOWNLOAD}, None),
        ({"stage": "rules"}, None),
        ({"subject": "file"}, None),
        ({"url": None}, None),
        ({"stage": None}, None),
        ({"host": "closed.test"}, None),  # by a rule that was made since
    ],
)
def test_downloads_and_what_the_operator_closes_stay_closed(more, lasting_s):
    gatekeeper = FakeGatekeeper()
    gatekeeper.closed_hosts.add("closed.test")
    exceptions = BlockExceptions(gatekeeper, lambda *_: 600.0)
    assert exceptions.lasting_s(event(**more)) == lasting_s


def test_who_may_make_none_is_offered_none():
    assert BlockExceptions(FakeGatekeeper(), lambda *_: None).lasting_s(event()) is None
    assert PassageExceptions(FakeGatekeeper(), lambda *_: None).lasting_s(event()) is None


def test_the_report_of_a_file_names_its_address_and_digest():
    file = event(
        subject="file", cls=SubjectClass.DOWNLOAD, filename="setup.exe", sha256="ab" * 32, list="x-file-mw-8b"
    )
    text = BlockExceptions(FakeGatekeeper(), lambda *_: None).shown(file, None, ENGLISH)["report"]
    assert "  http://bad.test/\n" in text
    assert f"  File: setup.exe\n  SHA-256: {'ab' * 32}\n" in text
    assert "  List: x-file-mw-8b\n" in text
