"""Hooks of MkDocs: pages from the top of the repository join those of docs/, and links follow."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
ABOVE = {"README.md": "index.md"} | {
    name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "proxy.yaml")
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: the decision notes, newest last, and pages that it does not name."""
    assert config.nav is not None
    named = set(_pages(config.nav))
    docs = Path(config.docs_dir)
    notes = sorted(f"decisions/{path.name}" for path in (docs / "decisions").glob("*.md"))
    more = sorted(path.name for path in docs.glob("*.md") if path.name not in named)
    config.nav += [{"Decision notes": notes}] + ([{"More": more}] if more else [])
    return config


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for each in (nav.values() if isinstance(nav, dict) else nav) for page in _pages(each)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies above docs/."""
    for name, target in ABOVE.items():
        files.append(File.generated(config, target, content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to where the pages of the site are."""
    above = page.file.src_uri in ABOVE.values()
    depth = "../" * page.file.src_uri.count("/")

    def led(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        if above:
            return f"]({ABOVE.get(target, target.removeprefix('docs/'))}{anchor})"
        name = target.removeprefix("../" + depth)
        return f"]({depth}{ABOVE[name]}{anchor})" if target != name and name in ABOVE else found[0]

    return re.sub(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)", led, markdown)
