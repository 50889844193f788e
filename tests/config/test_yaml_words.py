"""What is no YAML is explained in an operator's words, at the line that has to be mended."""

import re

import pytest

from config.written import faults

JARGON = re.compile(r"token|scalar|mapping|sequence|flow|block|stream|parsing|scanning|alias|<|character '")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policy:\n  level: high\n   mode: enforce\n", "3: not valid YAML: this line is indented further"),
        ("policy:\n  level: high\n mode: enforce\n", "3: not valid YAML: this line is indented otherwise"),
        ("  via: a\nname: b\n", "2: not valid YAML: this line is indented otherwise"),
        ("feeds:\n  - name: a\n  via: b\n", "3: not valid YAML: this line is indented otherwise"),
        ("policy:\n\tlevel: high\n", "2: not valid YAML: a tab stands here"),
        ("listen: a\nvia: b\nlisten: c\n", "3: not valid YAML: listen stands here a second time"),
        ("listen a:1\n# a comment\n\nvia: b\n", "4: not valid YAML: the line above has no colon"),
        ("policy\n  level: high\n", "2: not valid YAML: the line above has no colon"),
        ("via: a\nlisten:a\n", "2: not valid YAML: no colon with a space after it"),
        ("a:\n  b: [c, d\nvia: e\n", "2: not valid YAML: what begins here is not closed with ]"),
        ("a:\n  b: {c: d\n", "2: not valid YAML: what begins here is not closed with }"),
        ("a: [b,\n", "not valid YAML: the file ends before a [ or { is closed"),
        ("a: ]\n", "1: not valid YAML: a value is missing before ]"),
        ("a: [*.example]\n", "1: not valid YAML: a text that begins with * stands in quotes"),
        ("a: @b\n", "1: not valid YAML: a text that begins with @ stands in quotes"),
        ("a: |b\n c\n", "1: not valid YAML: a text that begins with | or > stands in quotes"),
        ("a: Note: b\n", "1: not valid YAML: a text that has a colon followed by a space stands in quotes"),
        ('a: "b\nc: d\n', "1: not valid YAML: the quote that begins here is not closed"),
        ("a: 'don't do'\n", "1: not valid YAML: text after the end of a quote"),
        ('a: "C:\\new\\x"\n', "1: not valid YAML: a backslash in double quotes"),
        ('a: "\\q"\n', "1: not valid YAML: a backslash in double quotes"),
        ("---\na: 1\n---\nb: 2\n", "3: not valid YAML: a second document begins here"),
        ("a: 1\nb: \x07\n", "2: not valid YAML: a control character stands here (U+0007)"),
    ],
)
def test_what_is_wrong_and_where(write, text, told):
    (found,) = faults(write(text))
    assert told in found
    assert not JARGON.search(found.partition("not valid YAML: ")[2])


@pytest.mark.parametrize(
    "text",
    [
        "a: hunter2: b\n",
        "a: *hunter2\n",
        "a: 'b' hunter2\n",
        "a: 'hunter2\n",
        "hunter2\na: b\n",
        "a: [hunter2\n",
    ],
)
def test_nothing_of_the_file_is_repeated(write, text):
    assert "hunter2" not in "".join(faults(write(text)))
