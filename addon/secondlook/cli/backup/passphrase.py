"""The passphrase of a backup: from a file, a pipe, or a person at a terminal."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from secondlook.cli.output import fail

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Read the passphrase from the first line of a file; without: asked for, or standard input.",
    ),
]


def read_passphrase(file: Path | None, *, twice: bool) -> str:
    """Read a passphrase; one that a person makes up is asked for `twice`."""
    if file is not None:
        try:
            with file.open(encoding="utf-8") as opened:
                given = opened.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot read the passphrase: {file}: {getattr(error, 'strerror', None) or error}")
    elif sys.stdin.isatty():
        given = getpass.getpass("passphrase: ")
        if twice and getpass.getpass("once more: ") != given:
            fail("the two passphrases differ")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        fail(f"expected a passphrase, got an empty line{f' in {file}' if file is not None else ''}")
    return given
