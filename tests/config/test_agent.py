"""What the whole of `proxy.yaml` has to fit together to, and what follows from it."""

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings


def settings(*overrides):
    return load_settings(None, overrides=["state=/s", *overrides])


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["listen=0.0.0.0:8080"], "who may use the proxy from other machines"),
        (["listen=0.0.0.0:8080", "clients={}"], "expected networks or users"),
        (["mode=none"], "nothing would be served"),
        (["feeds=[{name: a, url: 'https://a.example/'}]", "servers.embedded.enabled=false"], "embedded"),
    ],
)
def test_what_does_not_fit_together_is_refused(overrides, why):
    with pytest.raises(InvalidConfigError, match=why):
        settings(*overrides)


@pytest.mark.parametrize(
    ("overrides", "may"),
    [
        ([], True),  # of this machine alone
        (["clients={networks: [10.0.0.0/8]}"], False),
        (["clients={networks: [10.0.0.0/8]}", "passthrough.unknown=allow"], True),
        (["passthrough.unknown=block"], False),
        (["clients={networks: [10.0.0.0/8]}", "passthrough.unknown={ports: {22: allow}}"], True),
        (["clients={networks: [10.0.0.0/8]}", "passthrough.unknown={ports: {23: allow}}"], False),
    ],
)
def test_what_is_neither_tls_nor_http_passes_by_the_settings_else_where_nobody_shares(overrides, may):
    assert settings(*overrides).may_pass_unknown("10.0.0.1", None, 22) is may


def test_rules_of_feeds_are_among_those_that_look_into_files():
    feed = "{name: mine, url: 'https://a.example/rules.zip', format: yara}"
    made = settings(f"feeds=[{feed}]", "scan.yara.rules=[/own.yar]")
    [(name, folder)] = made.rule_feeds
    assert name == "mine"
    assert [str(path) for path in made.looking.yara.rules] == ["/own.yar", str(folder)]
    off = settings(f"feeds=[{feed[:-1]}, enabled: false}}]", "scan.yara.rules=[/own.yar]")
    assert off.rule_feeds == ()
    assert off.looking is off.scan


@pytest.mark.parametrize(("mode", "name"), [("regular", "regular"), ("reverse:http://a.example", "reverse")])
def test_a_mode_is_named_without_its_target(mode, name):
    assert settings(f"mode={mode}").mode_name == name
