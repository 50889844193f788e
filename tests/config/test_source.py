"""Configuration files: what they mean, and how their faults are told."""

import re
import subprocess

import pytest
from pydantic import BaseModel

from config.written import faults
from prosekit import places_of
from prosekit.settings_shown import places_shown
from secondlook.config.agent import Settings
from secondlook.config.document import InvalidConfigError
from secondlook.config.fault_words import model_in
from secondlook.config.service import ServerSettings
from secondlook.config.source import load_server_settings, load_settings

MINIMAL = (
    "{listen: 127.0.0.1:8080, state: ./state, servers: {embedded: false, intranet: "
    '[{url: "http://127.0.0.1:5274"}, {url: "http://127.0.0.1:5275"}]}}'
)


def test_minimal_agent_of_the_contract(write):
    settings = load_settings(write(MINIMAL))
    assert [server.url for server in settings.servers.intranet] == [
        "http://127.0.0.1:5274",
        "http://127.0.0.1:5275",
    ]
    assert settings.state == write(MINIMAL).parent / "state"
    assert not settings.servers.embedded.enabled


def test_shipped_file_says_the_defaults(repository):
    shipped = load_settings(repository / "proxy.yaml")
    defaults = load_settings(None, state=repository / "state")
    assert shipped.model_copy(update={"feeds": ()}) == defaults
    assert len(shipped.feeds) >= 3


def test_shipped_file_shows_every_key(repository):
    assert places_of(Settings) - places_shown((repository / "proxy.yaml").read_text()) == set()


def test_settings_survive_json(write):
    settings = load_settings(write(MINIMAL + "\n"), overrides=["clients={networks: [10.0.0.0/8]}"])
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("polcy: {}\n", "1: polcy: unknown key; did you mean policy?"),
        ("listen: 127.0.0.1\n", "1: listen: expected an address such as"),
        ("policy:\n  level: hgh\n", "2: policy.level: expected 'high', 'medium' or 'low', got 'hgh'"),
        ("servers:\n  attempts: many\n", "2: servers.attempts: expected a whole number"),
        ("servers:\n  attempts: true\n", "2: servers.attempts: expected a number"),
        ("servers:\n  attempts: '3'\n", "2: servers.attempts: expected a number, without quotes"),
        ("log:\n  privacy: '3'\n", "2: log.privacy: expected a number, without quotes"),
        ("workers: '2'\n", "1: workers: expected a number of worker processes, or auto"),
        ('policy:\n  block_untested: "yes"\n', "2: policy.block_untested: expected true or false, without"),
        ('servers:\n  embedded: "no"\n', "2: servers.embedded: expected true or false, without"),
        ("servers:\n  budget: soon\n", "2: servers.budget: expected a duration such as"),
        (
            "servers:\n  poll: 0\n",
            "2: servers.poll: expected a duration such as 500ms, 10m or 1h, more than 0",
        ),
        ("ledger:\n  deadline: 0ms\n", "2: ledger.deadline: expected a duration such as"),
        ("servers:\n  budget: -1\n", "2: servers.budget: expected a duration such as"),
        (
            "servers:\n  intranet:\n    - url: http://10.1.2.3:5274\n",
            "3: servers.intranet.0.url: expected https:// for another machine",
        ),
        ("servers:\n  intranet:\n    - name: x\n", "3: servers.intranet.0.url: expected a value, found none"),
        (
            "servers: {network: {url: https://safebrowsing.googleapis.com}}",
            "1: servers.network.key: expected the API",
        ),
        (
            "servers:\n  network: {url: https://sps.example, key: abc}\n",
            "2: servers.network.key: expected the Ed25519 public key",
        ),
        ("downloads:\n  hold_up_to: huge\n", "2: downloads.hold_up_to: expected a size such as"),
        ("log:\n  privacy: 9\n", "2: log.privacy: expected 3 or less, got 9"),
        ("hung_after: 4.9\n", "1: hung_after: expected 5 or more, got 4.9"),
        ("hung_after: 601s\n", "1: hung_after: expected 600 or less, got "),
        ("workers: 0\n", "1: workers: expected 1 or more, got 0"),
        ("mode: sideways\n", "1: mode: expected a mitmproxy mode"),
        ("mode: upstream\n", "1: mode: expected upstream: with a target"),
        ("mode: regular@0.0.0.0:1\n", "1: mode: expected a mode without its own listen address"),
        ("listen: 0.0.0.0:8080\n", "1: listen: expected `clients` to name who may use the proxy"),
        ("listen: 0.0.0.0:8080\nclients: {users: {}}\n", "2: clients: expected networks or users"),
        ("review:\n  listen: 0.0.0.0:1\n", "2: review.listen: expected a loopback address"),
        (
            "feeds:\n  - {name: a, url: https://x.example/, path: y}\n",
            "2: feeds.0: expected exactly one of url",
        ),
        (
            "feeds:\n- {name: a, builtin: test}\n- {name: a, builtin: test}\n",
            "3: feeds.1.name: expected another name",
        ),
        (
            "feeds: [{name: a, builtin: test}]\nservers: {embedded: false}\n",
            "1: feeds: expected servers.embedded",
        ),
        ("ledger: mysql://x\n", "1: ledger: expected default, sqlite"),
        (
            "mitmproxy:\n  ignore_hosts: [x]\n",
            "2: mitmproxy.ignore_hosts: this mitmproxy option would switch",
        ),
        ("mitmproxy:\n  showhost: true\n", "2: mitmproxy.showhost: not one of the mitmproxy options"),
        ("policy: strict\n", "1: policy: expected keys with values ("),
        ("servers: [a]\n", "1: servers: expected keys with values ("),
        ("passthrough: [no spaces]\n", "1: passthrough.0: expected a host such as"),
        ("state: ${NOT_SET_ANYWHERE}\n", "1: state: environment variable NOT_SET_ANYWHERE is not set"),
        ("listen: [127.0.0.1:1\n", "1: not valid YAML"),
        ("a: 1\na: 2\n", "2: not valid YAML"),
        ("- 1\n", "1: expected keys with values"),
        ("clients:\n  networks: [10.0.0.0/33]\n", "2: clients.networks.0: expected a network"),
        (
            "clients:\n  groups:\n    - {name: g, users: [x]}\n",
            "3: clients.groups.0.users: expected a user named in",
        ),
        (
            "actions:\n  tell_on_next_page: true\n",
            "2: actions.tell_on_next_page: this key did nothing; use notify.next_page",
        ),
        ("review:\n  password: plain text\n", "2: review.password: expected the hash of a password as"),
        ("clients:\n  users:\n    anna: plain\n", "3: clients.users.anna: expected the hash of a password"),
    ],
)
def test_fault_names_file_line_and_key(write, text, told):
    (found,) = faults(write(text))
    assert found.startswith(told)


def test_all_faults_are_told_at_once(write):
    text = "polcy: {}\npolicy: {level: x}\nlog:\n  privacy: 4\nservers:\n  budgt: 1\n"
    assert [fault.split(":")[0] for fault in faults(write(text))] == ["1", "2", "4", "6"]


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Two certificates with their keys, and one key locked by a passphrase."""
    folder = tmp_path_factory.mktemp("certified")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    for name in ("one", "other", "locked"):
        locked = ["-passout", "pass:secret"] if name == "locked" else ["-nodes"]
        files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
        subprocess.run([*make, *locked, *files, "-subj", f"/CN={name}"], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("cert", "key", "told"),
    [
        ("missing.pem", "one.key", "4: review.tls.cert: cannot read"),
        ("one.pem", "missing.key", "5: review.tls.key: cannot read"),
        ("one.key", "one.pem", "4: review.tls.cert: expected a certificate in PEM"),
        ("one.pem", "one.pem", "5: review.tls.key: expected a private key in PEM"),
        ("one.pem", "other.key", "5: review.tls.key: "),
        ("locked.pem", "locked.key", "5: review.tls.key: cannot use"),
    ],
)
def test_files_of_tls_are_tried_before_anything_starts(write, certified, cert, key, told):
    path = write(
        f"review:\n  listen: 127.0.0.1:0\n  tls:\n    cert: {certified / cert}\n    key: {certified / key}\n"
    )
    load_settings(path)  # a command that only reads the log may not be allowed to read the key
    (found,) = faults(path, serving=True)
    assert found.startswith(told)


AUTHORITIES = {
    "servers": "servers:\n  intranet:\n  - url: https://sps.example\n    ca: {}\n",
    "references": "servers:\n  location:\n    references:\n    - {{url: https://in.example, ca: {}}}\n",
    "directory": "clients:\n  ldap:\n    uri: ldaps://ldap.example\n    ca: {}\n    bind: uid={{user}}\n",
    "proxy": "upstream_proxy:\n  url: http://127.0.0.1:3128\n\n  ca: {}\n",
    "origins": "mitmproxy:\n\n\n  ssl_verify_upstream_trusted_ca: {}\n",
}


@pytest.mark.parametrize("where", AUTHORITIES)
def test_files_of_authorities_are_tried_before_anything_starts(write, certified, where):
    for name, told in (("missing.pem", "cannot read"), ("one.key", "cannot use"), ("one.pem", None)):
        path = write(AUTHORITIES[where].format(certified / name))
        load_settings(path)
        if told is None:
            load_settings(path, serving=True)
            continue
        (found,) = faults(path, serving=True)
        assert re.match(rf"4: \S+ca: {told} ", found)


def test_files_of_tls_that_fit(write, certified):
    path = write(f"review:\n  tls: {{cert: {certified / 'one.pem'}, key: {certified / 'one.key'}}}\n")
    assert load_settings(path, serving=True).review.tls is not None
    server = path.with_name("server.yaml")
    server.write_text(f"tls: {{cert: {certified / 'one.pem'}, key: {certified / 'other.key'}}}\n")
    with pytest.raises(InvalidConfigError, match="is not the key of the certificate"):
        load_server_settings(server, serving=True)


def test_options_of_the_command_line(write, tmp_path):
    settings = load_settings(
        write("listen: 127.0.0.1:1\nreview: false\n"),
        listen=["127.0.0.1:0", "[::1]:0"],
        review="127.0.0.1:9",
        workers=3,
        state=tmp_path / "elsewhere",
    )
    assert [str(address) for address in settings.listen] == ["127.0.0.1:0", "[::1]:0"]
    assert settings.review.listen.port == 9
    assert settings.worker_count == 3
    assert settings.state == tmp_path / "elsewhere"


def test_modes_that_cannot_share_a_socket_run_one_worker():
    assert load_settings(None, overrides=["mode=wireguard"], workers=4).worker_count == 1


def test_server_off_loopback_needs_tokens():
    with pytest.raises(InvalidConfigError, match=r"--listen: listen: expected client tokens"):
        load_server_settings(None, listen=["0.0.0.0:5274"])
    assert (
        load_server_settings(None, listen=["0.0.0.0:5274"], overrides=["tokens=false"]).tokens.required
        is False
    )
    assert load_server_settings(None, listen=["0.0.0.0:5274"], overrides=["tokens=[abc]"]).tokens.values == (
        "abc",
    )


@pytest.mark.parametrize("text", ["5", "abcdef"])
def test_tokens_are_a_list(text):
    with pytest.raises(InvalidConfigError) as caught:
        load_server_settings(None, overrides=[f"tokens={text}"])
    assert str(caught.value) == '--set: tokens: expected a list of tokens, such as ["${TOKEN}"], or false'


def test_replica_has_no_feeds():
    with pytest.raises(InvalidConfigError, match="expected no feeds on a replica"):
        load_server_settings(
            None, overrides=["upstream={url: https://sps.example}", "feeds=[{name: t, builtin: test}]"]
        )


def paths_of(model: type[BaseModel], before: str = "", seen: tuple[type[BaseModel], ...] = ()) -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(f"{before}{name}")
        inner = model_in(field.annotation)
        if inner is not None and inner not in seen:
            found |= paths_of(inner, f"{before}{name}.", (*seen, inner))
    return found


@pytest.mark.parametrize("version", ["0.1.0", "1.0.0"])
def test_every_key_of_a_released_version_is_understood(repository, version):
    released = (repository / f"tests/data/released/keys-{version}.txt").read_text().split()
    assert len(released) > 200
    assert set(released) - paths_of(Settings) - paths_of(ServerSettings, "server:") == set()
