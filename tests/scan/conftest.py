"""What YARA-X made ends in the thread that made it."""

import gc
from collections.abc import Iterator

import pytest

from e2e.prepared_children import prepared_children
from scankit.fixtures import clamd, liar, no_yara

__all__ = ("clamd", "liar", "no_yara", "prepared_children")


@pytest.fixture
def ends_here() -> Iterator[None]:
    """Collect what an expected error keeps alive: YARA-X's compilers and scanners may end in no other thread."""
    yield
    gc.collect()
