"""What a feed of rules brings, laid out: bounds of an archive; the rest is tried by `test_rules.py`."""

import pytest

from proxykit.samples import zipped
from secondlook.ground.errors import PatternError
from secondlook.server.feeds import rule_files

ARCHIVE = {"README": b"no rules", "a/b.yar": b"rule a {}", "a/c.yara": b"rule c {}"}


def test_an_archive_at_its_bounds_and_one_past_them(tmp_path, monkeypatch):
    size = sum(len(body) for body in ARCHIVE.values())
    packed = tmp_path / "packed"
    packed.write_bytes(zipped(ARCHIVE))
    for name, bound in (("MOST_BYTES", size), ("MOST_FILES", 2)):
        with monkeypatch.context() as patched:
            patched.setattr(rule_files, name, bound)
            assert len(rule_files.unpack_rules(packed, tmp_path, "r")) == 2
            patched.setattr(rule_files, name, bound - 1)
            with pytest.raises(PatternError, match="more than"):
                rule_files.unpack_rules(packed, tmp_path, "r")
