"""What a page of the documentation shows, for the tests that run it as it stands."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


class Page:
    """A page by its name."""

    def __init__(self, name: str) -> None:
        self.text = (DOCS / name).read_text()

    def shown(self, language: str, containing: str) -> str:
        """Return the one block of a language in which something stands."""
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        (block,) = [text for kind, text in blocks if kind == language and containing in text]
        return block


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Put the places here for those of a page; each has to be there."""
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    return text
