"""In which language a page is written for whoever asked (`Accept-Language`), and how.

Texts stand in English in the source, marked by `phrase(…)`, `say(…)`, `count(…)`, and by `_(…)` in templates;
their translations in `languages/CODE.po`. tests/refusal/test_language.py holds every catalog to every text.
"""

import gettext
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import get_args

from secondlook.config.record import PageLanguage
from secondlook.refusal.catalog import translations

SOURCE = "en"
CODES: tuple[str, ...] = get_args(PageLanguage)
_RIGHT_TO_LEFT = frozenset({"ar"})
_UNSPACED = frozenset({"ja", "zh-Hans"})  # sentences end with 。 and no blank follows
_TRADITIONAL = frozenset({"hant", "tw", "hk", "mo"})  # Chinese in other characters
_MOST_WANTED = 20  # entries of `Accept-Language` that are looked at


def phrase(text: str) -> str:
    """Mark a text that is translated where it is shown."""
    return text


@dataclass(frozen=True, slots=True)
class Language:
    """One language; `code` as in `Content-Language` and `lang=`."""

    code: str = SOURCE
    _translations: gettext.NullTranslations = field(default_factory=gettext.NullTranslations, repr=False)

    @property
    def direction(self) -> str:
        """Return the value of `dir=`."""
        return "rtl" if self.code in _RIGHT_TO_LEFT else "ltr"

    def say(self, text: str, **values: object) -> str:
        """Translate a text, with `%(name)s` for each value; one that no catalog has stays as it is."""
        text = self._translations.gettext(text)
        return text % values if values else text

    def count(self, one: str, many: str, number: int) -> str:
        """Translate a text about a number, `%(count)s` in it."""
        return self._translations.ngettext(one, many, number) % {"count": number}

    def sentence(self, text: str) -> str:
        """Write a translated message as a sentence: with a capital letter and a full stop."""
        stop = "。" if self.code in _UNSPACED else "."
        return f"{text[:1].upper()}{text[1:].rstrip('.。')}{stop}"

    def joined(self, *sentences: str) -> str:
        """Put translated sentences one after another."""
        return ("" if self.code in _UNSPACED else " ").join(sentences)


ENGLISH = Language()


@cache
def language(code: str) -> Language:
    """Load a language of `CODES`."""
    if code == SOURCE:
        return ENGLISH
    file = resources.files("secondlook.refusal").joinpath(f"languages/{code}.po")
    return Language(code, translations(file.read_text("utf-8")))


def wanted(header: str | None, default: str = SOURCE) -> str:
    """Choose a language by `Accept-Language` (RFC 9110, 12.5.4), the default where none of ours is wanted."""
    best, weight = default, 0.0
    for item in (header or "").split(",")[:_MOST_WANTED]:
        tag, _, parameter = item.partition(";")
        code = _code_of(tag.strip().lower())
        if code is not None and (quality := _quality(parameter)) > weight:
            best, weight = code, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 0.0 if name.strip() else 1.0
    try:
        quality = float(value)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _code_of(tag: str) -> str | None:
    """Find the language of a tag in small letters (`pt-br`, `zh-hans-cn`); None where it is none of ours."""
    name, *rest = tag.split("-")
    if name == "zh":
        if "hans" in rest:  # what is written counts, not where: zh-Hans-HK of an iPhone
            return "zh-Hans"
        return None if _TRADITIONAL.intersection(rest) else "zh-Hans"
    return name if name in CODES else None
