"""The documentation builds as a static site; a link that leads nowhere is an error (10 s)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def build(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-f", config, "-d", target],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(repository / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_it(site, repository):
    pages = {
        path.relative_to(repository / "docs").with_suffix(".html")
        for path in (repository / "docs").rglob("*.md")
    }
    made = {path.relative_to(site) for path in site.rglob("*.html")}
    assert (
        pages
        | {Path(name) for name in ("index.html", "CONTRIBUTING.html", "SECURITY.html", "CHANGELOG.html")}
        <= made
    )
    assert "See a block at once" in (site / "index.html").read_text()


def test_links_from_and_to_the_top_of_the_repository_lead_to_pages(site):
    assert 'href="operation.html"' in (site / "index.html").read_text()
    assert 'href="CONTRIBUTING.html#a-feed-format"' in (site / "architecture.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site):
    for page in ("index.html", "security.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', (site / page).read_text()
        )
        assert loaded == []


def test_a_link_that_leads_nowhere_is_an_error(repository, tmp_path):
    for name in ("docs", "scripts"):
        shutil.copytree(
            repository / name, tmp_path / name, ignore=shutil.ignore_patterns("images", "__pycache__")
        )
    for name in (
        "mkdocs.yml",
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
        "proxy.yaml",
    ):
        shutil.copy(repository / name, tmp_path)
    with (tmp_path / "docs" / "faq.md").open("a") as page:
        page.write("\n[gone](nowhere.md) [gone too](privacy.md#nowhere)\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "'faq.md' contains a link 'nowhere.md'" in done.stderr
    assert "'faq.md' contains a link 'privacy.md#nowhere'" in done.stderr
