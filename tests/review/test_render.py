"""Rendering: what hides in a text is spelt out wherever it is shown, and a missing value is an error."""

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from secondlook.review.pages.render import ENVIRONMENT, query_string


def shown(template, **values):
    return ENVIRONMENT.from_string(template).render(**values)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("<b>", "&lt;b&gt;"),
        ("a\nb", "a\nb"),
        (Markup("<b>"), "<b>"),
        (5, "5"),
    ],
)
def test_what_is_shown_is_escaped_once(text, html):
    assert shown("{{ text }}", text=text) == html


def test_what_reorders_a_text_does_not_reach_a_page():
    assert "\u202e" not in shown("{{ text }}", text="a\u202eb")
    assert shown("{{ text }}", text="a\n\u202eb").count("\n") == 1


def test_a_value_that_a_page_forgot_is_no_blank():
    with pytest.raises(UndefinedError):
        shown("{{ forgotten }}")


def test_links_keep_the_filters_that_are_set():
    assert query_string({"kind": ["a", "b"], "host": "", "client": None, "q": "x y"}) == "kind=a&kind=b&q=x+y"
