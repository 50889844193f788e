"""Faults in plain words."""

import json
import re

import pytest
from pydantic import BaseModel

from config.written import faults
from secondlook.config.agent import Settings
from secondlook.config.document import InvalidConfigError
from secondlook.config.fault_words import model_in
from secondlook.config.service import ServerSettings
from secondlook.config.source import load_server_settings, load_settings


@pytest.mark.parametrize(
    "text",
    [
        "review: {password: [hunter2]}",
        "clients: {users: {bob: hunter2}}",
        "clients: {ldap: hunter2}",
        "upstream_proxy: 'http://bob:hunter2@proxy'",
        "ledger: 'mysql://bob:hunter2@host/base'",
        "mode: 'Upstream:http://bob:hunter2@proxy'",
        "notify: 'mailto://hunter2'",
        "servers: {network: hunter2}",
        "servers: {intranet: 'http://bob:hunter2@host'}",
        "log: {webhook: 'https://host/hunter2'}",
        "feeds: [{name: a, url: 'http://a', headers: hunter2}]",
        "review: {password: hunter2, password: b}",
        "review: {password:hunter2}",
    ],
)
def test_a_secret_is_not_told(write, text):
    assert "hunter2" not in "".join(faults(write(text)))


@pytest.mark.parametrize(
    "text",
    [
        "notify: [72]",
        "feeds: [{name: a, url: 'http://a', headers: {Key: 72}}]",
        "mitmproxy: {upstream_auth: 72}",
    ],
)
def test_a_secret_that_reads_as_a_number_is_not_told(write, text):
    assert "got 72" not in "".join(faults(write(text)))


@pytest.mark.parametrize("text", ["tokens: [72]", "admin: 'a72'", "store: 'mysql://:a72@host'"])
def test_a_secret_of_a_server_is_not_told(write, text):
    with pytest.raises(InvalidConfigError) as caught:
        load_server_settings(write(text))
    assert "72" not in str(caught.value).partition("yaml:")[2]


def tree_of(model: type[BaseModel], value: object) -> dict[str, object]:
    """A document in which every key that is not a section has this value."""
    tree: dict[str, object] = {}
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is None:
            tree[name] = value
            continue
        below: object = tree_of(inner, value)
        annotation = str(field.annotation)
        if "tuple" in annotation:
            below = [below]
        elif "ict[" in annotation or "Mapping" in annotation:
            below = {"mw-8b": below}
        tree[name] = below
    return tree


JARGON = re.compile(
    r"\b(valid|tuple|boolean|integer|string|dict\w*|parse|input|pattern|instance|validation|item|greater|character\(s\))\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("sections", [False, True], ids=["values", "sections"])
@pytest.mark.parametrize(
    "value", [{"a": {"b": 1}}, [[1]], True, -7, 3.5, "no such thing", 10**30, ""], ids=str
)
@pytest.mark.parametrize(
    ("load", "model"),
    [(load_settings, Settings), (load_server_settings, ServerSettings)],
    ids=["proxy", "server"],
)
def test_every_wrong_type_is_told_in_plain_words(tmp_path, load, model, value, sections):
    """Every key of a configuration has a wrong value at once: each is told with its line and what was expected."""
    tree = dict.fromkeys(model.model_fields, value) if sections else tree_of(model, value)
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps(tree, indent=1))
    lines = path.read_text().splitlines()
    with pytest.raises(InvalidConfigError) as caught:
        load(path)
    assert len(caught.value.faults) >= (5 if value else 3)
    for fault in caught.value.faults:
        assert fault.origin == str(path)
        assert fault.line is not None
        name = next(part for part in reversed(fault.key.split(".")) if not part.isdigit())
        at = lines[fault.line - 1]
        missing = fault.message == "expected a value, found none"
        assert name in at or missing or fault.key.split(".")[-1].isdigit()
        expected = fault.message.partition(", got ")[0]
        assert not JARGON.search(expected.replace("keys with values", "")), str(fault)
        assert re.match(r"(expected|unknown key|not one of|this mitmproxy option)", expected), str(fault)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("privacy: 2\n", "1: privacy: unknown key; did you mean log.privacy?"),
        ("log:\n  level: high\n", "2: log.level: unknown key; did you mean policy.level?"),
        ("log:\n  workers: 2\n", "2: log.workers: unknown key; workers stands at the beginning of its line"),
        (
            "failures: 2\n",
            "unknown key; did you mean servers.circuit.failures or passthrough.learn.failures?",
        ),
        ("log: {all:true}\n", "1: log.all: no colon with a space after it: all: …"),
        (
            "log: {all: true, retention 7d}\n",
            "1: log.retention: no colon with a space after it: retention: …",
        ),
        ("polcy:\n", "1: polcy: unknown key; did you mean policy?"),
        ("log:\n  al:\n", "2: log.al: unknown key; did you mean all?"),
        ("clients:\n  users:\n    anna:\n", "3: clients.users.anna: expected a text"),
        ("policy:\n\u00a0\u00a0level: high\n", "unknown key; beside it stands what looks like a space"),
        ("policy: strict\n", "1: policy: expected keys with values (level, block_untested, "),
        (
            "servers:\n  intranet:\n  - a.example\n",
            "3: servers.intranet.0: expected keys with values (url, name",
        ),
        ("workers: many\n", "1: workers: expected a number of worker processes, or auto, got 'many'"),
    ],
)
def test_where_a_key_belongs(write, text, told):
    (found,) = faults(write(text))
    assert told in found
