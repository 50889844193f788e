import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.url.canonical import url_subject
from secondlook.feeds.entries.entry import Entry, EntryKind
from secondlook.feeds.entries.guard import Exceptions
from secondlook.feeds.entries.maker import Maker
from secondlook.suffix import load_suffixes

SUFFIXES = load_suffixes()
MAKER = Maker(SUFFIXES)


def entry(text, exception=False):
    made = MAKER.indicator(text, exception=exception)
    assert isinstance(made, Entry)
    return made


def line_of(text):
    made = entry(text)
    return f"{made.text}/" if made.kind is EntryKind.HOST else made.text


def exceptions(*said):
    found = Exceptions()
    for text in said:
        found.add(entry(text, exception=True))
    return found


@pytest.mark.parametrize(
    ("excepted", "listed", "dropped"),
    [
        ("good.example", "good.example", True),
        ("good.example", "www.good.example", True),
        ("good.example", "www.good.example/a", True),
        ("good.example", "good.example/a", True),
        ("www.good.example", "good.example", True),
        ("www.good.example", "good.example/a", True),
        ("good.example", "notgood.example", False),
        ("good.example", "evil.example", False),
        ("good.example/a/b", "good.example", True),
        ("good.example/a/b", "good.example/a/", True),
        ("good.example/a/b", "good.example/a/b", True),
        ("good.example/a/b", "good.example/a/b/c", True),
        ("good.example/a/b", "good.example/a/b?x=1", True),
        ("good.example/a/b", "good.example/a/bc", False),
        ("good.example/a/b?x=1", "good.example/a/b", True),
        ("good.example/a/b", "good.example/c", False),
        ("good.example/a/b", "www.good.example/a/b", False),
        ("www.good.example/a/b", "good.example/a/b", True),
        ("8.8.4.4", "8.8.4.4", True),
        ("8.8.4.4", "8.8.4.5", False),
    ],
)
def test_what_an_exception_takes_away(excepted, listed, dropped):
    assert exceptions(excepted).limits(line_of(listed)) is dropped


def test_the_offsets_of_what_is_limited_count_bytes():
    lines = ["other.example/", "good.example/", "other.example/käse", "www.good.example/a"]
    raw = [f"{line}\n".encode() for line in lines]
    assert list(exceptions("good.example").limited(raw)) == [len(raw[0]), sum(map(len, raw[:3]))]


HOSTS = st.lists(st.sampled_from(["a", "b", "www", "good", "evil"]), min_size=1, max_size=3).map(
    lambda labels: ".".join([*labels, "example"])
)
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(HOSTS, PATHS, HOSTS, PATHS)
def test_no_entry_that_is_kept_blocks_what_is_excepted(host, path, listed_host, listed_path):
    listed = f"http://{listed_host}{listed_path}"
    if not exceptions(f"http://{host}{path}").limits(line_of(listed)):
        assert entry(listed).hash not in url_subject(f"http://{host}{path}", SUFFIXES).hashes
