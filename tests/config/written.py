"""Configuration files of tests, and the faults found in them."""

from pathlib import Path

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings


def faults(path: Path, **options: object) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        load_settings(path, **options)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]
