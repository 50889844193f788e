"""What a ready proxy writes for whoever started it."""

from types import SimpleNamespace

import pytest

from secondlook.ground.program_name import typed
from secondlook.run.supervisor.facts import processes, ready_lines, works_by_its_plan

FACTS = {
    "listen": ["127.0.0.1:8080", "[::1]:8080"],
    "mode": "regular",
    "workers": [1, 2],
    "gateway": None,
    "icap": None,
    "gates": [],
    "review": "127.0.0.1:8081",
    "token": "secret",
    "server": None,
}


def lines(*, settings='{"review": {}}', pattern="3 lists", trusted=True, begun=True, **facts):
    return list(ready_lines(FACTS | facts, settings, pattern, trusted=trusted, begun=begun))


def child(pid, role="worker", *, replaced=False, stopping=False):
    process = None if pid is None else SimpleNamespace(pid=pid)
    return SimpleNamespace(
        role=role, process=process, replaced=replaced, stopping=stopping, ready=pid is not None
    )


@pytest.mark.parametrize(
    ("children", "workers"),
    [
        ([child(1), child(2), child(3, "gate")], [1, 2]),
        ([child(1), child(None)], [1]),
        ([child(1, replaced=True), child(2, replaced=True), child(3), child(None)], [1, 2]),
        ([child(1, replaced=True, stopping=True), child(3)], [3]),
    ],
    ids=[
        "all serve",
        "one is started again",
        "a reload whose new ones do not get ready",
        "a reload that took",
    ],
)
def test_the_workers_named_are_those_that_serve(children, workers):
    assert processes(children, "worker") == workers


@pytest.mark.parametrize(
    ("children", "works"),
    [
        ([child(1, "service"), child(2)], True),
        ([child(1, "service"), child(2, replaced=True), child(3)], False),
        ([child(1, "service"), child(2, replaced=True, stopping=True), child(3)], True),
        ([child(1, "service"), child(2, replaced=True, stopping=True), child(None)], False),
        ([child(1, "service"), child(None)], False),
    ],
    ids=["all serve", "the old one goes on", "the old one drains", "one after the other", "it has ended"],
)
def test_a_plan_is_in_force_when_its_own_children_serve_and_no_others(children, works):
    assert works_by_its_plan(children) is works


def test_it_names_each_address_and_what_is_not_there():
    assert lines() == [
        "proxy    127.0.0.1:8080  [::1]:8080  (mode regular, workers 2)",
        "review   http://127.0.0.1:8081/?token=secret",
        "server   none embedded",
        "pattern  3 lists",
    ]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"listen": []}, "proxy    off  (mode regular)"),
        ({"review": None}, "review   off"),
        ({"token": None}, "review   http://127.0.0.1:8081/"),
        ({"settings": '{"review": {"tls": {"key": "k"}}}'}, "review   https://127.0.0.1:8081/?token=secret"),
        ({"review": "0.0.0.0:8081"}, "review   http://127.0.0.1:8081/?token=secret"),
        ({"server": "http://127.0.0.1:9"}, "server   http://127.0.0.1:9"),
        ({"pattern": None}, "pattern  none yet"),
        ({"gateway": "/run/g", "gates": [7]}, "gateway  /run/g  (workers 1)"),
        (
            {"gateway": "/run/g", "gates": [7], "icap": "[::1]:1344"},
            "gateway  /run/g  icap [::1]:1344  (workers 1)",
        ),
        (
            {"trusted": False},
            f"hint     browsers do not trust this proxy's certificates yet: {typed('setup ca on')}",
        ),
        (
            {"begun": False},
            "hint     first steps, each ticked off when it is done: http://127.0.0.1:8081/setup?token=secret",
        ),
    ],
)
def test_each_line_says_what_is_there(given, line):
    assert line in lines(**given)


def test_without_a_review_page_no_first_steps_are_named():
    assert not [line for line in lines(review=None, begun=False) if line.startswith("hint")]


def test_without_a_proxy_nobody_needs_its_authority():
    assert not [line for line in lines(listen=[], trusted=False) if line.startswith("hint")]
