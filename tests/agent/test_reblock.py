"""The URL of a bad file is refused as itself, and only for a while."""

from dataclasses import replace

from agentkit.house import House, confirmed_about
from secondlook.agent.check.reblock import reblock_entry
from secondlook.agent.check.view import REBLOCK
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass

URL = "http://files.test/a.exe"


def test_it_names_the_url_ends_by_time_and_never_replaces_a_finding_about_the_url():
    house = House()
    about_url = confirmed_about(house, URL)
    file = replace(
        about_url, identity=b"f" * 32, hit=b"f" * 32, kind=SubjectKind.FILE, sha256="66" * 32, tier="local"
    )
    entry = reblock_entry(file, house.subject(URL), until=7.0)
    assert (entry.hit, entry.kind, entry.source) == (about_url.hit, SubjectKind.URL, REBLOCK)
    assert (entry.expires_at, entry.tier, entry.cls) == (7.0, None, SubjectClass.DOWNLOAD)
    assert (entry.expression, entry.host) == ("files.test/a.exe", "files.test")
    assert entry.sha256 == file.sha256, "a rule that allows the file ends it"
    assert entry.identity not in (about_url.identity, file.identity)
    assert entry.identity == reblock_entry(file, house.subject(URL), until=9.0).identity
    house.close()
