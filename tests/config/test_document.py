"""Files that cannot be read, variables of the environment, and values laid over the file."""

import pytest

from config.written import faults
from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings


def test_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_bytes(b"listen: 127.0.0.1:1\nstate: \xff\xfe\n")
    assert faults(path) == ["2: expected UTF-8 text"]


def test_missing_file(tmp_path):
    with pytest.raises(InvalidConfigError, match="cannot read the configuration: No such file"):
        load_settings(tmp_path / "none.yaml")


def test_environment(write):
    text = (
        "servers:\n  network: {url: https://sps.example, token: '${TOKEN}'}\nledger: postgresql://u:$$x@h/d\n"
    )
    settings = load_settings(write(text), environ={"TOKEN": "secret"})
    assert settings.servers.network is not None
    assert settings.servers.network.token == "secret"
    assert settings.ledger.url == "postgresql://u:$x@h/d"
    assert "secret" not in repr(settings)


def test_numbers_and_switches_from_the_environment_and_in_the_words_of_old_yaml(write):
    text = 'log: {privacy: "${PRIVACY}", all: "${ALL}"}\npolicy: {block_untested: yes}\nworkers: ${WORKERS}\n'
    settings = load_settings(write(text), environ={"PRIVACY": "2", "ALL": "true", "WORKERS": "3"})
    assert (settings.log.privacy, settings.log.all, settings.worker_count) == (2, True, 3)
    assert settings.policy.block_untested


def test_set_lays_values_over_the_file(write):
    path = write("servers: {embedded: true}\nfeeds: [{name: t, builtin: test}]\n")
    settings = load_settings(
        path,
        overrides=[
            "servers.budget=2s",
            "servers.embedded.trusted_allow=false",
            "feeds.0.enabled=false",
            "review=127.0.0.1:0",
        ],
    )
    assert settings.servers.budget == 2.0
    assert settings.servers.embedded.enabled
    assert not settings.servers.embedded.trusted_allow
    assert not settings.feeds[0].enabled
    assert settings.review.listen.port == 0


def test_what_is_merged_from_an_anchor_is_read(write):
    path = write("feeds:\n- &a {name: a, builtin: test, threat: malware}\n- {<<: *a, name: b}\n")
    assert [(feed.name, feed.builtin) for feed in load_settings(path).feeds] == [("a", "test"), ("b", "test")]
    (found,) = faults(write("log: &a {all: true}\npolicy:\n  <<: *a\n"))
    assert found.startswith("3: policy.all: unknown key")


def test_a_key_without_a_value_has_its_default(write):
    settings = load_settings(
        write(
            "listen:\nworkers:\nlog:\n  all: true\n  retention:\nfeeds:\n- {name: a, builtin: test, list: }\n"
        )
    )
    assert (settings.listen, settings.workers) == (load_settings(None).listen, None)
    assert settings.log.all
    assert settings.log.retention == load_settings(None).log.retention
    assert settings.feeds[0].list is None


def test_what_is_nested_too_deep_is_refused(write):
    assert "not valid YAML: maximum recursion depth" in faults(write("name: " + "[" * 700))[0]


@pytest.mark.parametrize("value", ["2026-99-99", "!!int no", "[" * 700], ids=lambda value: value[:10])
def test_a_value_that_yaml_cannot_read_is_a_text(write, value):
    (found,) = faults(write("feeds: []\n"), overrides=[f"policy.level={value}"])
    assert found.startswith("--set: policy.level: expected 'high', 'medium' or 'low', got ")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("feeds.\u00b2.name=x", "--set: feeds.\u00b2.name: no such key or item"),
        ("servers.budgt=1", "--set: servers.budgt: unknown key; did you mean budget?"),
        ("servers.budget", "--set: expected dotted.key=value"),
        ("feeds.3.name=x", "--set: feeds.3.name: no such key or item"),
        ("policy.level=extreme", "--set: policy.level: expected 'high'"),
    ],
)
def test_fault_in_an_override(write, override, told):
    (found,) = faults(write("feeds: []\n"), overrides=[override])
    assert found.startswith(told)
