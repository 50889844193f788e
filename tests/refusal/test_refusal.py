"""The form of a refusal fits who asked; its headers are the contract."""

import json
from dataclasses import dataclass, replace

import pytest

from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Threat, Verdict
from secondlook.refusal.block_page import BlockPage, Pages
from secondlook.refusal.refusal import INTERNAL_HOST, Form, Refusals, fitting_form, mark, problem_document

LISTED = Decision(
    Action.BLOCK,
    Evidence(
        verdict=Verdict.MALICIOUS,
        risk=Risk.DANGEROUS,
        stage=Stage.PATTERN,
        threat=Threat.MALWARE,
        list="mw-8b",
    ),
    event_id="01M85DCQGTFKV0GDPKC3SRB2CA",
)
URL = "http://bad.test/a"


@dataclass(frozen=True)
class Asking:
    dest: str | None = None
    accept: str | None = None
    language: str | None = None
    referrer: str | None = None


@pytest.mark.parametrize(
    ("asking", "path", "form", "kind"),
    [
        (Asking(dest="document"), "/", Form.PAGE, "text/html; charset=utf-8"),
        (Asking(dest="iframe"), "/", Form.PAGE, "text/html; charset=utf-8"),
        (Asking(dest="script", accept="text/html"), "/", Form.EMPTY, "text/javascript"),
        (Asking(dest="image"), "/", Form.EMPTY, "image/png"),
        (Asking(dest="manifest"), "/", Form.PROBLEM, "application/problem+json"),
        (Asking(dest="empty", accept="text/html"), "/", Form.PROBLEM, "application/problem+json"),
        (Asking(accept="text/html,*/*"), "/", Form.PAGE, "text/html; charset=utf-8"),
        (Asking(accept="image/webp,*/*"), "/", Form.EMPTY, "image/png"),
        (Asking(accept="text/css,*/*"), "/", Form.EMPTY, "text/css"),
        (Asking(accept="*/*", referrer="http://a.test/"), "/x.js?y", Form.EMPTY, "text/javascript"),
        (Asking(accept="*/*"), "/x.js", Form.PROBLEM, "application/problem+json"),
        (Asking(), "/", Form.PROBLEM, "application/problem+json"),
    ],
)
def test_the_form_fits_who_asked(asking, path, form, kind):
    assert fitting_form(asking, path) == (form, kind)


def test_the_mark_names_event_stage_and_threat():
    assert mark(LISTED) == "blocked; event=01M85DCQGTFKV0GDPKC3SRB2CA; stage=pattern; threat=malware"
    bare = replace(LISTED, event_id=None, evidence=replace(LISTED.evidence, threat=None))
    assert mark(bare) == "blocked; event=none; stage=pattern; threat=none"


@pytest.mark.parametrize("kept", [True, False])
def test_a_problem_document_leads_to_the_event_that_the_log_keeps(kept):
    document = json.loads(problem_document(LISTED, URL, kept=kept))
    assert (document["status"], document["url"], document["list"]) == (403, URL, "mw-8b")
    assert ("instance" in document) is kept


@pytest.mark.parametrize(("cls", "open_"), [(SubjectClass.PAGE, True), (SubjectClass.DOWNLOAD, False)])
def test_a_page_offers_an_exception_but_not_for_a_download(cls, open_):
    refusals = Refusals(BlockPage(Pages(), INTERNAL_HOST), lambda *_: 600.0)
    made = refusals.make("/a", Asking(dest="document"), LISTED, RequestContext(cls, url=URL))
    headers = dict(made.headers)
    assert headers[b"Cache-Control"] == b"no-store"
    assert headers[b"X-Second-Look"] == mark(LISTED).encode()
    assert (b"10 minutes" in made.body) is open_


def test_what_is_blocked_stays_blocked_without_its_page():
    refusals = Refusals(BlockPage(Pages(), INTERNAL_HOST), lambda *_: 1 / 0)
    made = refusals.make("/a", Asking(dest="document"), LISTED, RequestContext(SubjectClass.PAGE, url=URL))
    assert made.body == b""
    assert dict(made.headers)[b"X-Second-Look"] == mark(LISTED).encode()
