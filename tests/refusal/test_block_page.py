"""What the block page offers at each privacy level: only what the log can later keep its word about (0.1 s)."""

import pytest

from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Threat, Verdict
from secondlook.ledger.log.privacy import Discretion
from secondlook.refusal.block_page import BlockPage, Pages, exception_time
from secondlook.refusal.keeping import Keeping

PLAIN, QUERY = "http://bad.example/page", "http://bad.example/page?q=1"
EVIDENCE = Evidence(
    verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS, stage=Stage.PATTERN, threat=Threat.MALWARE, list="mw-8b"
)
PAGES = Pages()


def shown(url: str, level: int = 0, *ignored: str, override_s: float | None = 600.0) -> str:
    page = BlockPage(PAGES, "secondlook.internal", Keeping(Discretion(level, ignored)))
    decision = Decision(Action.BLOCK, EVIDENCE, event_id="01EVENT")
    return page.render(decision, url, None, override_s=override_s).decode()


@pytest.mark.parametrize(
    ("level", "url", "exception", "event"),
    [
        (0, PLAIN, True, True),
        (0, QUERY, True, True),
        (1, PLAIN, True, True),
        (1, QUERY, False, True),
        (2, PLAIN, False, True),
        (3, PLAIN, False, False),
        (3, QUERY, False, False),
    ],
)
def test_nothing_is_offered_that_the_log_cannot_keep(level, url, exception, event):
    page = shown(url, level)
    assert ("Let me through for 10 minutes" in page) is exception
    assert ('href="https://secondlook.internal/blocked/01EVENT#mistake"' in page) is event
    assert ("01EVENT" in page) is event
    assert "This is a mistake" in page
    assert ("I believe that this block is a mistake" in page) is not event
    assert ("Visits are not written down here" in page) is not event


def test_an_ignored_host_is_like_the_highest_level():
    assert "secondlook.internal/blocked/" not in shown(PLAIN, 0, "bad.example")
    assert "secondlook.internal/blocked/" in shown(PLAIN, 0, "other.example")


def test_the_report_holds_hostile_text_as_text():
    page = shown("http://bad.example/</pre><script>alert(1)</script>\u202egnp.exe", 3)
    assert "<script>" not in page
    assert "\u202e" not in page


def test_no_exception_is_offered_where_none_is_made():
    page = shown(PLAIN, override_s=None)
    assert "Let me through" not in page
    assert "This is a mistake" in page


@pytest.mark.parametrize(
    ("referrer", "back"),
    [
        (None, None),
        ("http://news.example/", None),  # all that browsers say of a page at another site
        ("http://news.example", None),
        ("javascript:alert(1)//x", None),
        ("http://news.example/article?x=1", "http://news.example/article?x=1"),
    ],
)
def test_back_is_the_referring_page_only_where_it_is_named_whole(referrer, back):
    page = (
        BlockPage(PAGES, "secondlook.internal")
        .render(Decision(Action.BLOCK, EVIDENCE), PLAIN, referrer)
        .decode()
    )
    assert f'href="{back or "http://secondlook.internal/back"}" rel="noreferrer">' in page


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, None), (20, "1 minute"), (90, "2 minutes"), (600, "10 minutes")]
)
def test_how_long_an_exception_lasts_is_told(seconds, told):
    assert exception_time(Stage.PATTERN, seconds) == told
    assert exception_time(Stage.ACCESS, seconds) is None


def test_a_list_is_called_as_people_call_it_and_its_name_stands_in_the_details():
    page = (
        BlockPage(PAGES, "secondlook.internal", None, {EVIDENCE.list: "URLhaus <malware>"}.__getitem__)
        .render(Decision(Action.BLOCK, EVIDENCE), PLAIN, None)
        .decode()
    )
    assert "Found on the list: <bdi>URLhaus &lt;malware&gt;</bdi>" in page
    assert f'<bdi lang="en">{EVIDENCE.stage}, {EVIDENCE.list}</bdi>' in page


def test_a_rule_is_told_by_the_reason_that_was_given_for_it():
    evidence = Evidence(
        verdict=Verdict.MALICIOUS,
        risk=Risk.DANGEROUS,
        stage=Stage.RULES,
        rule="01RULE",
        detail="no <ads>\u202e",
    )
    page = (
        BlockPage(PAGES, "secondlook.internal").render(Decision(Action.BLOCK, evidence), PLAIN, None).decode()
    )
    assert "Reason given: <bdi>no &lt;ads&gt;\\u{202e}</bdi>" in page
    assert "<dt>Rule</dt><dd><bdi>01RULE</bdi></dd>" in page
