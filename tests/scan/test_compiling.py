"""Rules from people and from the web: all of them or none, and the line that is wrong is told."""

import asyncio

import pytest

from secondlook.ground.errors import PatternError
from secondlook.scan.compiling import RuleSource, compile_in_child, compile_rules
from secondlook.scan.yara_look import Looker

pytestmark = pytest.mark.usefixtures("ends_here")
GOOD = 'rule good { meta: score = 80 strings: $a = "planted" condition: $a }'


def source(tmp_path, text, name="given.yar"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return RuleSource(name, path)


def test_rules_are_compiled_in_a_child_with_our_own(tmp_path):
    target = tmp_path / "out.yarc"
    assert asyncio.run(compile_in_child([source(tmp_path, GOOD)], target)) == 2
    import io

    found = Looker().begin(str(target), time_s=30.0, max_bytes=1000)
    found.at(io.BytesIO(b"it is planted here"))
    assert [one.signature for one in found.detections] == ["good"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rule a { condition: true and\n $b }", "given.yar:2:2: unknown pattern `$b`"),
        ("rule a {\n\n", "given.yar:"),
        ('include "/etc/passwd"', "given.yar:1:1: include statements not allowed"),
        ('import "nosuch"\nrule a { condition: true }', "given.yar:1:"),
        (b"rule a {}\n\xff\xfe", "given.yar:2: expected text in UTF-8"),
        ("rule every { condition: filesize > 0 }", "given.yar: the rule every fits a file known to be good"),
        ('rule mz { strings: $a = "This program cannot" condition: $a }', "(a Windows program)"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(tmp_path, text, told):
    target = tmp_path / "out.yarc"
    with pytest.raises(PatternError, match=r".") as caught:
        compile_rules([source(tmp_path, GOOD, "first.yar"), source(tmp_path, text)], target)
    assert told in str(caught.value)
    assert not target.exists()


def test_a_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(tmp_path):
    text = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    assert compile_rules([source(tmp_path, text)], tmp_path / "out") == 2


def test_a_file_that_is_not_there(tmp_path):
    missing = RuleSource("missing.yar", tmp_path / "missing.yar")
    with pytest.raises(PatternError, match=r"missing.yar: cannot be read: No such file"):
        asyncio.run(compile_in_child([missing], tmp_path / "out"))


def test_two_files_may_use_one_name(tmp_path):
    twice = [source(tmp_path, GOOD, "a.yar"), source(tmp_path, GOOD, "b.yar")]
    assert compile_rules(twice, tmp_path / "out") == 3


def test_what_public_rules_expect_from_their_scanners_is_there(tmp_path):
    text = 'rule a { condition: filename matches /planted/ and extension == ".exe" and filepath == owner }'
    assert compile_rules([source(tmp_path, text)], tmp_path / "out") == 2


def test_rules_that_take_too_long_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("secondlook.scan.compiling._SAMPLE_TIME_S", 1)
    slow = (
        "rule slow { condition: filesize > 0 and for all i in (0..9000000000) : (uint8(i % filesize) >= 0) }"
    )
    with pytest.raises(PatternError, match="take longer than 1 s"):
        compile_rules([source(tmp_path, slow)], tmp_path / "out")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    given = [source(tmp_path, GOOD + " " * 10_000)]
    monkeypatch.setattr("secondlook.scan.compiling.MOST_SOURCE_BYTES", len(GOOD) + 10_000)
    assert compile_rules(given, tmp_path / "out") == 2
    monkeypatch.setattr("secondlook.scan.compiling.MOST_SOURCE_BYTES", len(GOOD) + 9_999)
    with pytest.raises(PatternError, match=r"given.yar: larger than"):
        compile_rules(given, tmp_path / "out")
