"""`secondlook password`: the hash of a password, for `review.password` and `clients.users`."""

import getpass
import sys

import typer

from secondlook.cli.options import JsonOption
from secondlook.cli.output import fail, print_result

app = typer.Typer(add_completion=False)


@app.command()
def password(as_json: JsonOption = False) -> None:
    """Read a password (twice on a terminal) and print its Argon2 hash, as the configuration wants it."""
    from argon2 import PasswordHasher

    if sys.stdin.isatty():
        given = getpass.getpass("password: ")
        if getpass.getpass("once more: ") != given:
            fail("the two passwords differ")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        fail("expected a password, got an empty line")
    # a dollar sign would begin a ${NAME} in the configuration
    made = PasswordHasher().hash(given).replace("$", "$$")
    print_result({"hash": made}, made, as_json=as_json)
