"""Configuration files, as people write and break them."""

from conftest import REPOSITORY
from fuzzkit import fuzz, mutated
from secondlook.config.source import load_server_settings, load_settings
from secondlook.ground.errors import ConfigError

SHIPPED = (REPOSITORY / "proxy.yaml").read_bytes()
PARTS = [part + b"\n" for part in SHIPPED.split(b"\n\n") if b":" in part]
SERVER = [b"listen: 127.0.0.1:5274\nstate: ./s\nfeeds: []\n", b"limits: {body: 1 MiB}\ntokens: {a: b}\n"]


@fuzz(data=mutated(PARTS))
def test_proxy_yaml(data, tmp_path_factory):
    """A file is taken, or refused in words that name the file; there is no other end."""
    path = tmp_path_factory.getbasetemp() / "fuzzed-proxy.yaml"
    path.write_bytes(data)
    try:
        load_settings(path, environ={})
    except ConfigError as error:
        assert path.name in str(error)


@fuzz(data=mutated(SERVER))
def test_server_yaml(data, tmp_path_factory):
    """The same holds of a server's file."""
    path = tmp_path_factory.getbasetemp() / "fuzzed-server.yaml"
    path.write_bytes(data)
    try:
        load_server_settings(path, environ={})
    except ConfigError as error:
        assert path.name in str(error)
