"""Hundreds of thousands of real entries, from the file to the refusal, and real traffic that must pass."""

import itertools
import json
import lzma
import random
from pathlib import Path

import pytest

from conftest import read_lines
from e2e.processes import Proxy, Server, command, server_import, server_publish
from secondlook.agent.pattern.files import load_pattern
from secondlook.core.subject import SubjectKind
from secondlook.core.url.canonical import url_subject

SAMPLE = 250


@pytest.fixture(scope="module")
def lists(
    shared_data: Path | None, test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The lists to import, unpacked: the large ones beside the repository, else the excerpt in it."""
    folder = tmp_path_factory.mktemp("lists")
    sources = {"se-8b": test_data / "phishing_urls_excerpt.txt"}
    if shared_data is not None:
        sources = {
            "se-8b": shared_data / "malicious" / "phishdb_urls.txt.xz",
            "mw-8b": shared_data / "malicious" / "urlhaus_hist_domains.txt.xz",
        }
    unpacked = {}
    for name, source in sources.items():
        unpacked[name] = folder / source.name.removesuffix(".xz")
        with lzma.open(source) if source.suffix == ".xz" else source.open("rb") as packed:
            unpacked[name].write_bytes(packed.read())
    return unpacked


@pytest.fixture(scope="module")
def published(lists: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's folder with everything imported and published."""
    state = tmp_path_factory.mktemp("server") / "server"
    accepted = 0
    for name, path in lists.items():
        for report in server_import(state, name, path):
            assert report["refused"] is None
            accepted += report["accepted"]
    if len(lists) > 1:
        assert accepted >= 200_000
    assert server_publish(state)["changed"]
    return state


def test_listed_urls_are_blocked_and_ordinary_ones_pass(
    published, lists, shared_data, start_server, start_proxy, suffixes, plain_origin
):
    server: Server = start_server(published)
    proxy: Proxy = start_proxy(
        f"workers: 1\nservers:\n  embedded: false\n  intranet: [{{url: '{server.url}'}}]\n"
    )
    assert proxy.facts["pattern"]

    # what the publisher says is listed is what the agent blocks, and hardly anything of the file is not
    draw = random.Random(2026)
    urls = [line for line in read_lines(lists["se-8b"]) if line.strip() and not line.startswith("-")]
    sample = draw.sample(urls, SAMPLE)
    done = command("server", "check", *sample, "--json", "--state", published, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    listed = {each["subject"] for each in told if each["listed"]}
    assert len(listed) >= 0.9 * SAMPLE
    decided = {each["subject"]: each for each in _check(proxy, sample)}
    assert {subject for subject, each in decided.items() if each["decision"] == "block"} == listed
    for each in decided.values():
        if each["decision"] == "block":
            assert each["stage"] == "pattern"
            assert each["expression"] in each["expressions"]

    # their pages, deeper paths and subdomains, as the rules say: the root and three folders count as prefixes
    folders = [each for each in sorted(listed) if "://" in each and each.endswith("/") and "?" not in each]
    pages = [each for each in folders if each.partition("://")[2].count("/") <= 4][:20]
    assert pages
    assert all(
        each["decision"] == "block"
        for each in _check(proxy, [page + "deeper/page.html?x=1" for page in pages])
    )
    for url in [each for each in sorted(listed) if not each.startswith("ftp:")][:15]:
        answer = proxy.curl(url if "://" in url else f"http://{url}")
        assert answer.status == 403, (url, answer)
    assert proxy.curl(plain_origin.url("/page")).status == 200

    # ordinary traffic: every block has to be explained by an entry that is in the lists
    pattern = load_pattern(proxy.state)
    checked, hits = 0, {}
    for text in _ordinary(shared_data):
        subject = url_subject(text if "://" in text else f"http://{text}/", suffixes)
        hit = pattern.block_hit(SubjectKind.URL, subject.hashes)
        checked += 1
        if hit is not None:
            hits[subject.expressions[hit.position]] = text
    assert checked >= (200_000 if shared_data is not None else 50)
    if hits:
        asked = [f"http://{expression}" for expression in list(hits)[:2000]]
        done = command("server", "check", *asked, "--json", "--state", published, check=False)
        explained = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(explained) == len(asked)
        unexplained = [each["subject"] for each in explained if not each["listed"]]
        assert not unexplained
        assert len(hits) < 0.05 * checked


def _check(proxy: Proxy, subjects: list[str]) -> list[dict[str, object]]:
    done = proxy.command("check", *subjects, "--json", check=False)
    assert done.returncode in {0, 10, 11}, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _ordinary(shared_data: Path | None):
    """Popular sites and links that people really followed."""
    if shared_data is None:
        return iter([f"site{number}.example" for number in range(60)])
    return itertools.chain(
        (
            line.partition(",")[2] or line
            for line in read_lines(shared_data / "knowngood" / "umbrella_top100k_2026-07-24.txt.xz")
        ),
        itertools.islice(read_lines(shared_data / "requests" / "reddit_links.txt.xz"), 120_000),
    )
