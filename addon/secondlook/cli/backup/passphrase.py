"""The passphrase of a backup: from a file, a pipe, or a person at a terminal."""

from pathlib import Path
from typing import Annotated

from secondlook.cli.options import option, read_secret
from secondlook.cli.output import fail

PassphraseOption = Annotated[
    Path | None,
    option(
        "--passphrase-file",
        "FILE",
        "Read the passphrase from the first line of a file; without: asked for, or standard input.",
    ),
]


def read_passphrase(file: Path | None, *, twice: bool) -> str:
    """Read a passphrase; one that a person makes up is asked for `twice`."""
    if file is None:
        return read_secret("passphrase", twice=twice)
    try:
        with file.open(encoding="utf-8") as opened:
            given = opened.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read the passphrase: {file}: {getattr(error, 'strerror', None) or error}")
    return given or fail(f"expected a passphrase, got an empty line in {file}")
