"""The reader of `.po` files: what it reads, and what it refuses (0.1 s)."""

import pytest

from secondlook.refusal.catalog import Message, read_catalog, translations

POLISH = r"""# a comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3; plural=n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2;\n"

#: a place
msgid "Say \"no\"\n"
msgstr ""
"Powiedz "
"„nie” \\\n"

msgid "%(count)s minute"
msgid_plural "%(count)s minutes"
msgstr[0] "%(count)s minutę"
msgstr[1] "%(count)s minuty"
msgstr[2] "%(count)s minut"
"""


def test_texts_plurals_and_lines_that_go_on():
    header, text, minutes = read_catalog(POLISH)
    assert header.source == ""
    assert text == Message('Say "no"\n', None, ("Powiedz „nie” \\\n",))
    assert minutes.plural == "%(count)s minutes"
    read = translations(POLISH)
    assert read.gettext('Say "no"\n') == "Powiedz „nie” \\\n"
    assert read.gettext("unknown") == "unknown"
    forms = [read.ngettext("%(count)s minute", "%(count)s minutes", count) for count in (1, 3, 5, 22)]
    assert forms == ["%(count)s minutę", "%(count)s minuty", "%(count)s minut", "%(count)s minuty"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('msgstr "a"', 1),
        ('"a"', 1),
        ('msgid "a"\nmsgstr "b', 2),
        ('msgid "a"\nmsgctxt "b"', 2),
        ('#, fuzzy\nmsgid "a"', 1),
        ('msgid "a"\nmsgstr "b"\nmsgstr "c"', 3),
        ('msgid "a"\nmsgstr "\\x41"', 2),
        ('msgid "a" + "b"', 1),
    ],
)
def test_what_is_no_catalog_is_refused_with_its_line(text, line):
    with pytest.raises(ValueError, match=f"^line {line}: expected"):
        read_catalog(text)
