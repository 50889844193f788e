"""`secondlook password`: the hash of a password, for `review.password` and `clients.users`."""

import typer

from secondlook.cli.options import JsonOption, read_secret
from secondlook.cli.output import print_result

app = typer.Typer(add_completion=False)


@app.command()
def password(as_json: JsonOption = False) -> None:
    """Read a password (twice on a terminal) and print its Argon2 hash, as the configuration wants it."""
    from argon2 import PasswordHasher

    given = read_secret("password", twice=True)
    # a dollar sign would begin a ${NAME} in the configuration
    made = PasswordHasher().hash(given).replace("$", "$$")
    print_result({"hash": made}, made, as_json=as_json)
