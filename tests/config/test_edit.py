"""Changing single values of a YAML file: what is not meant stays byte for byte, what cannot be done is refused."""

import difflib
from pathlib import Path

import pytest

from secondlook.config.edit import CannotEditError, append_item, set_value, values_of
from secondlook.config.source import load_settings

SHIPPED = (Path(__file__).parents[2] / "proxy.yaml").read_text(encoding="utf-8")
FEED = {"name": "mine", "url": "http://127.0.0.1:9/list", "threat": "malware", "every": "1h"}


def difference(before, after):
    """Return the lines that went and came, without what is around them."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    return [line for line in lines if not line.startswith("@@")]


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        (("policy", "level"), "high", ["-  level: medium", "+  level: high"]),
        (("policy", "unverifiable", "download"), "block", ["-    download: flag", "+    download: block"]),
        (
            ("policy", "block_untested"),
            True,
            [
                "-  block_untested: false # what no list knows is blocked too",
                "+  block_untested: true # what no list knows is blocked too",
            ],
        ),
        (("feeds", 1, "enabled"), False, ["+    enabled: false"]),
        (("name",), "one", ["-name:", "+name: one"]),
    ],
)
def test_a_value_of_the_shipped_file(key, value, lines):
    assert difference(SHIPPED, set_value(SHIPPED, key, value)) == lines


def test_a_feed_comes_after_the_last_and_before_the_comment_of_what_follows():
    changed = append_item(SHIPPED, ("feeds",), FEED)
    assert difference(SHIPPED, changed) == [
        "+  - name: mine",
        "+    url: http://127.0.0.1:9/list",
        "+    threat: malware",
        "+    every: 1h",
    ]
    assert "    every: 1h\n\n# From what is known to what is done.\npolicy:\n" in changed


def test_a_group_comes_where_there_were_no_clients():
    changed = append_item(SHIPPED, ("clients", "groups"), {"name": "kids", "policy": {"level": "high"}})
    assert difference(SHIPPED, changed) == [
        "+  groups:",
        "+    - name: kids",
        "+      policy:",
        "+        level: high",
    ]


def test_the_changed_file_is_read_as_meant(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text(set_value(append_item(SHIPPED, ("feeds",), FEED), ("policy", "level"), "low"))
    settings = load_settings(path)
    assert settings.policy.level == "low"
    assert settings.feeds[-1].name == "mine"


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("", ("policy", "level"), "high", "policy:\n  level: high\n"),
        ("# only this\n", ("policy", "level"), "high", "# only this\npolicy:\n  level: high\n"),
        ("listen: 127.0.0.1:1", ("policy", "level"), "low", "listen: 127.0.0.1:1\npolicy:\n  level: low\n"),
        ("policy: {level: low} # why\n", ("policy", "level"), "high", "policy: {level: high} # why\n"),
        ("policy: {} # why\n", ("policy", "level"), "high", "policy: {level: high} # why\n"),
        (
            "policy: { mode: assess }\n",
            ("policy", "unverifiable", "page"),
            "block",
            "policy: { mode: assess, unverifiable: {page: block} }\n",
        ),
        ("policy: # what is done\nname: a\n", ("policy", "level"), "high", "policy: # what is done\n  level: high\nname: a\n"),
        ("a: 'x'   # keeps\nb:   \"y\"\n", ("b",), "z", "a: 'x'   # keeps\nb:   z\n"),
        ("policy:\r\n  level: low\r\n# end\r\n", ("policy", "mode"), "assess", "policy:\r\n  level: low\r\n  mode: assess\r\n# end\r\n"),
        ("\ufeffname: a\n", ("name",), "b", "\ufeffname: b\n"),
        (
            "g:\n  - name: a\n    networks:\n      - 10.0.0.0/8 # one\n      - fd00::/8\n  - name: b\n",
            ("g", 0, "networks"),
            ["10.0.0.0/9"],
            "g:\n  - name: a\n    networks: [10.0.0.0/9]\n  - name: b\n",
        ),
        ("a: 1\nb: no # text\n", ("a",), "1", "a: '1'\nb: no # text\n"),
    ],
)  # fmt: skip
def test_small_files(before, key, value, after):
    assert set_value(before, key, value) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("feeds: []\n", "feeds:\n  - name: n\n"),
        ("feeds: [] # none yet\npolicy: {}\n", "feeds: # none yet\n  - name: n\npolicy: {}\n"),
        ("feeds:\nname: a\n", "feeds:\n  - name: n\nname: a\n"),
        ("name: a\n", "name: a\nfeeds:\n  - name: n\n"),
        ("feeds:\n- name: a\n  url: b # c\n\n# d\nname: e\n", "feeds:\n- name: a\n  url: b # c\n- name: n\n\n# d\nname: e\n"),
        ("feeds: [{name: a}]\n", "feeds: [{name: a}, {name: n}]\n"),
        ("feeds:\n    -   name: a\n        licence:\nx: 1\n", "feeds:\n    -   name: a\n        licence:\n    - name: n\nx: 1\n"),
    ],
)  # fmt: skip
def test_an_item_in_each_layout(before, after):
    assert append_item(before, ("feeds",), {"name": "n"}) == after


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("base: &base {level: low}\npolicy: *base\n", ("policy", "level")),  # the anchor would change too
        ("policy: strict\n", ("policy", "level")),
        ("policy: [a]\n", ("policy", "level")),
        ("feeds: {a: 1}\n", ("feeds", 0, "enabled")),
        ("? [a, b]\n: c\npolicy: {level: low\n", ("policy", "level")),
        ("- a\n", ("policy", "level")),
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text, key):
    with pytest.raises(CannotEditError):
        set_value(text, key, "high")


def test_text_that_looks_like_yaml_stays_text():
    for value in ("a: b", "# no", "{x", "&a", "- a", "yes", "1e3", "a\nb", "ü'\"", "", "null"):
        assert values_of(set_value("policy:\n  level: x\n", ("policy", "level"), value)) == {
            "policy": {"level": value}
        }
