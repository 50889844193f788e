"""The book of kept findings: whole on the disk, numbered once."""

from dataclasses import replace

from secondlook.server.findings.unlisted import KeptFinding, next_finding_id, read_findings, write_findings
from serverkit import make_store

FINDING = KeptFinding(
    id="found-1", state="waiting", scope="file", text="ab" * 32, list="x-file-mw-8b", name="Eicar", engine="yara",
    agent="desk-7", address="::1", at=1.5,
)  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    store = make_store(tmp_path)
    assert read_findings(store) == []
    kept = [FINDING, replace(FINDING, id="found-3", state="withdrawn", count=7)]
    write_findings(store, kept)
    assert read_findings(store) == kept
    assert next_finding_id(kept) == "found-4"
    assert next_finding_id([]) == "found-1"


def test_an_entry_names_the_agent_and_what_was_found():
    assert (FINDING.who, FINDING.reason) == ("agent desk-7 (::1)", "yara: Eicar")
