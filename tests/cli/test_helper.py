"""`secondlook helper` is listed and explained like every command."""

from typer.testing import CliRunner

from secondlook.cli.operation.helper import app
from secondlook.gateway.helper import USAGE


def test_it_is_explained():
    done = CliRunner().invoke(app, [])
    assert done.output.strip() == USAGE.strip()
