import pytest

from secondlook.agent.check.request_context import classify
from secondlook.core.verdict import SubjectClass

PAGE, PART, FILE = SubjectClass.PAGE, SubjectClass.SUBRESOURCE, SubjectClass.DOWNLOAD


@pytest.mark.parametrize(
    ("dest", "accept", "method", "path", "cls"),
    [
        ("document", "text/html", "GET", "/", PAGE),
        ("iframe", None, "GET", "/ad", PAGE),
        ("document", None, "GET", "/setup.exe?x=1", FILE),
        ("image", "text/html", "GET", "/x", PART),
        ("script", None, "GET", "/a.js", PART),
        ("empty", "*/*", "GET", "/api", PART),
        (None, "text/html,*/*", "GET", "/style.css", PAGE),
        (None, "image/png,*/*;q=0.5", "GET", "/a.png", PART),
        (None, "*/*", "GET", "/a.css", PART),
        (None, "*/*", "GET", "/pkg.whl", FILE),
        ("empty", "*/*", "GET", "/a.searchconnector-ms", FILE),
        ("empty", "*/*", "GET", "/a.bat%C2%A0", FILE),
        (None, "*/*", "GET", "/", PAGE),
        (None, None, "GET", "/anything", PAGE),
        (None, "*/*", "POST", "/api", PART),
        (None, "application/json", "GET", "/api", PART),
        (None, None, None, None, PAGE),
        (None, "*/*", "GET", "/page.css/x?f=a.exe#b.exe", PAGE),
    ],
)
def test_class_of_use(dest, accept, method, path, cls):
    assert classify(dest, accept, method, path) is cls
