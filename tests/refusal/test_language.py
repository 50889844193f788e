"""Pages in each language: no text left out, nothing that a translation could break, as the browser asks (1 s)."""

import ast
import gettext
import json
import re
from importlib import resources
from pathlib import Path

import jinja2
import pytest
from jinja2.ext import extract_from_ast

import secondlook
from secondlook.config.record import BlockPageSettings
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Threat, Verdict
from secondlook.download.request_facts import RequestFacts
from secondlook.refusal.block_page import BlockPage, Pages, shown_age, shown_minutes
from secondlook.refusal.catalog import Message, read_catalog
from secondlook.refusal.language import CODES, ENGLISH, SOURCE, Language, language, wanted
from secondlook.refusal.refusal import Refusals, problem_document
from secondlook.refusal.wording import explanation, title

PACKAGE = Path(secondlook.__file__).parent
FOLDER = resources.files("secondlook.refusal")
TRANSLATED = [code for code in CODES if code != SOURCE]
EVIDENCE = Evidence(
    verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS, stage=Stage.PATTERN, threat=Threat.MALWARE, list="mw-8b"
)
BLOCK = Decision(Action.BLOCK, EVIDENCE, event_id="01EVENT")
URL = "http://bad.example/page"


# ---- the catalogs


def texts_of_templates() -> set[tuple[str, str | None]]:
    parse = jinja2.Environment(autoescape=True).parse
    messages = [
        message
        for file in FOLDER.joinpath("templates").iterdir()
        if file.name.endswith(".html")
        for _, _, message in extract_from_ast(parse(file.read_text()), ("_",))
    ]
    # a text, a tuple with a place for each value that is put in, or None: the text is a variable
    texts = [message[0] if isinstance(message, tuple) else message for message in messages]
    return {(text, None) for text in texts if text is not None}


def texts_of_source(source: str) -> set[tuple[str, str | None]]:
    found: set[tuple[str, str | None]] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        texts = [
            one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
        ]
        if name in {"phrase", "say"} and texts:
            found.add((texts[0], None))
        elif name == "count" and len(texts) == 2:
            found.add((texts[0], texts[1]))
    return found


def texts() -> set[tuple[str, str | None]]:
    files = [file for room in ("refusal", "site", "proxy") for file in (PACKAGE / room).rglob("*.py")]
    return texts_of_templates().union(*(texts_of_source(file.read_text()) for file in files))


def catalog(code: str) -> tuple[Message, ...]:
    return read_catalog(FOLDER.joinpath(f"languages/{code}.po").read_text("utf-8"))


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text))


def test_the_languages_of_the_settings_are_the_catalogs_that_are_there():
    files = {file.name for file in FOLDER.joinpath("languages").iterdir()}
    assert files == {f"{code}.po" for code in TRANSLATED}
    assert len(CODES) == 10


def test_texts_are_found_in_templates_and_source():
    found = texts()
    assert len(found) > 140
    assert ("Go back", None) in found
    assert ("no such page", None) in found
    assert ("%(count)s minute", "%(count)s minutes") in found


@pytest.mark.parametrize("code", TRANSLATED)
def test_no_text_is_left_out_and_none_is_left_over(code):
    header, *messages = catalog(code)
    assert f"Language: {code}\n" in header.translations[0]
    there = [(message.source, message.plural) for message in messages]
    assert len(there) == len(set(there))
    assert set(there) == texts()
    assert [message.source for message in messages if not all(map(str.strip, message.translations))] == []


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_translation_has_what_is_put_in_and_no_other(code):
    header, *messages = catalog(code)
    forms = re.search(r"nplurals=(\d)", header.translations[0])
    assert forms is not None
    wrong = []
    for message in messages:
        given = [placeholders(text) for text in message.translations]
        if message.plural is None:
            fits = given == [placeholders(message.source)]
        else:  # one may be a word: the Arabic dual
            fits = (
                len(given) == int(forms[1])
                and given[-1] == {"count"}
                and all(one <= {"count"} for one in given)
            )
        left = "".join(re.sub(r"%\(\w+\)s", "", text) for text in message.translations)
        if not fits or "%" in left:
            wrong.append(message.source)
    assert wrong == []


def test_in_french_no_line_begins_with_a_mark_that_follows_a_space():
    texts = [text for message in catalog("fr")[1:] for text in message.translations]
    assert [text for text in texts if re.search(r" [:;?!»]|« ", text)] == []
    assert any("\u00a0:" in text for text in texts)


@pytest.mark.parametrize("code", CODES)
def test_every_number_of_minutes_has_its_words(code):
    said = [shown_minutes(count * 60, language(code)) for count in range(1, 120)]
    assert all("%" not in text for text in said)
    assert all(str(count) in text for count, text in enumerate(said, 1) if count > 2)


def test_numbers_in_the_languages_that_count_in_their_own_way():
    assert [shown_minutes(count * 60, language("pl")) for count in (1, 2, 5)] == [
        "1 minutę",
        "2 minuty",
        "5 minut",
    ]
    assert shown_minutes(120, language("ar")) == "دقيقتين"
    assert shown_age(86_400 * 3, language("de")) == "3 Tage alt"
    assert shown_age(0, language("fr")) == "date de moins d'une minute"


# ---- which language


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("nl,fr;q=0.7,en;q=0.3", "fr"),
        ("en;q=0.3, PL-pl;q=0.7", "pl"),
        ("en-GB,de", "en"),
        ("zh-CN", "zh-Hans"),
        ("zh-Hans-SG", "zh-Hans"),
        ("zh-Hans-HK", "zh-Hans"),  # what an iPhone set to simplified characters sends in Hong Kong
        ("en;q=0.1, pl;Q=0.9", "pl"),
        ("zh", "zh-Hans"),
        ("zh-TW,zh;q=0.9", "zh-Hans"),
        ("zh-Hant-HK,ja;q=0.5", "ja"),
        ("pt-BR", "pt"),
        ("ar-EG", "ar"),
        ("nl, tlh", "en"),
        ("*", "en"),
        ("de;q=0", "en"),
        ("de;q=2,fr;q=nan,es;q=x,it;q=-1", "en"),
        ("de;level=1", "en"),
        ("../../de", "en"),
        (";;;,,,=q", "en"),
        ("nl," * 20 + "de", "en"),
        ("nl," * 19 + "de", "de"),
    ],
)
def test_a_language_is_chosen_as_the_browser_asks(header, code):
    assert wanted(header) == code


@pytest.mark.parametrize(
    ("settings", "header", "code"),
    [
        (BlockPageSettings(default="de"), "sv, tr;q=0.5", "de"),
        (BlockPageSettings(default="de"), None, "de"),
        (BlockPageSettings(default="de"), "sv, en;q=0.1", "en"),
        (BlockPageSettings(language="fr", default="de"), "en", "fr"),
    ],
)
def test_who_asks_for_no_language_of_ours_gets_the_one_of_the_settings(settings, header, code):
    assert Pages(settings).language(header).code == code


def test_a_language_that_is_set_is_always_used():
    pages = Pages(BlockPageSettings(language="pl"))
    assert pages.language("de").code == "pl"
    assert pages.language_headers(pages.language("de")) == [(b"Content-Language", b"pl")]


# ---- the pages


@pytest.mark.parametrize("code", CODES)
def test_a_block_page_in_each_language(code):
    refusals = Refusals(BlockPage(Pages(), "secondlook.internal"), lambda *_: 600.0)
    asked = RequestFacts(dest="document", language=code)
    refusal = refusals.make("/page", asked, BLOCK, RequestContext(SubjectClass.PAGE, url=URL))
    headers = dict(refusal.headers)
    assert headers[b"Content-Language"] == code.encode()
    assert headers[b"Vary"] == b"Accept-Language"
    page = refusal.body.decode()
    assert f'<html lang="{code}" dir="{"rtl" if code == "ar" else "ltr"}">' in page
    assert title(BLOCK, language(code)) in page
    assert ("Go back" in page) is (code == "en")
    assert "%(" not in page


@pytest.mark.parametrize("code", CODES)
def test_hostile_text_is_text_in_each_language(code):
    page = BlockPage(Pages(), "secondlook.internal").render(
        BLOCK,
        "http://bad.example/</p><script>alert(1)</script>\u202egnp.exe",
        None,
        language(code),
        override_s=60.0,
    )
    assert b"<script>" not in page
    assert "\u202e" not in page.decode()


def test_what_a_catalog_has_is_text_too():
    class Hostile(gettext.NullTranslations):
        def gettext(self, message: str) -> str:
            return f"<script>{message}</script>"

    page = (
        Pages()
        .render("excepted.html", Language("de", Hostile()), lasting="<b>", subject="x", url=None)
        .decode()
    )
    assert "<script>" not in page
    assert "&lt;script&gt;Open for you for &lt;b&gt;&lt;/script&gt;" in page


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("threat", [None, *Threat])
def test_every_reason_has_its_words(stage, threat):
    decision = Decision(Action.BLOCK, Evidence(Verdict.MALICIOUS, Risk.DANGEROUS, stage, threat=threat))
    for write in (title, explanation):
        assert write(decision, language("de")) != write(decision, ENGLISH)


def test_a_document_for_programs_is_translated_for_people_alone():
    english = json.loads(problem_document(BLOCK, URL))
    german = json.loads(problem_document(BLOCK, URL, language("de")))
    assert german["title"] == "Das könnte Ihrem Computer schaden"
    assert german.pop("detail") != english.pop("detail")
    del german["title"], english["title"]
    assert german == english
    assert german["threat"] == "malware"


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("helpdesk@example.org", "mailto:helpdesk@example.org"),
        ("https://help.example.org/?a=1&b", "https://help.example.org/?a=1&amp;b"),
        ("tel:+49301234", "tel:+49301234"),
        ("room 12, ask for Anna", None),
        ("javascript:alert(1)", None),
        ("a@b.example?bcc=c@d.example", None),
    ],
)
def test_who_runs_the_proxy_is_shown(contact, link):
    settings = BlockPageSettings(organisation="Smith & Sons <b>", contact=contact, sentence="We mean well.")
    page = Pages(settings).render("back.html", script="").decode()
    assert "Smith &amp; Sons &lt;b&gt;" in page
    assert "We mean well." in page
    assert re.findall(r'<footer>.*href="([^"]*)"', page, re.DOTALL) == ([link] if link else [])


def test_without_a_word_of_who_runs_it_there_is_no_footer():
    assert b"<footer>" not in Pages().render("back.html", script="")
