"""What a worker is put together of: which of our addons stand in it, and in which order."""

from dataclasses import dataclass

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.config.agent import Settings
from secondlook.proxy.worker import Surroundings, _clients, _set_destinations, build_addons

ALWAYS = "Login Connections Unopened SecondLookAddon Passthrough TrustSeen GatedLayers"


@dataclass
class Late:
    """The end of a log that nobody reads here."""

    record = print


def names(tmp_path, *, late=None, **settings) -> str:
    around = Surroundings(
        gatekeeper=FakeGatekeeper(),
        records=None,  # type: ignore[arg-type]
        site_key=b"k" * 32,
        own_ports=lambda: (),
        not_ready=lambda: None,
        override_s=lambda *_: None,
        unopened_s=lambda *_: None,
        late=late,
    )
    addons = build_addons(Settings.model_validate({"state": tmp_path, **settings}), around)
    return " ".join(type(addon).__name__ for addon in addons)


def test_who_asks_is_known_before_anything_is_judged_and_layers_come_last(tmp_path):
    assert names(tmp_path) == ALWAYS


def test_what_balancers_say_comes_first_and_late_verdicts_before_the_check(tmp_path):
    assert names(tmp_path, clients={"balancers": ["192.0.2.1"]}) == f"Forwarding {ALWAYS}"
    assert names(tmp_path, late=Late()) == ALWAYS.replace("Login", "Login LateNotices")


@pytest.mark.parametrize(
    ("mode", "set_destinations"),
    [
        ("regular", []),
        ("transparent", []),
        ("upstream:http://proxy.example:3128", [("proxy.example", 3128)]),
        ("reverse:https://shop.example", [("shop.example", 443)]),
    ],
)
def test_what_the_operator_wrote_into_the_mode_is_a_destination(mode, set_destinations):
    assert _set_destinations(mode) == set_destinations


@pytest.mark.parametrize(("possible", "served"), [(50, 50), (100, 70)])
def test_fewer_clients_are_served_where_descriptors_are_few(monkeypatch, tmp_path, possible, served):
    monkeypatch.setattr("secondlook.proxy.worker.most_clients", lambda: possible)
    settings = Settings.model_validate({"state": tmp_path, "limits": {"connections": 70}})
    assert _clients(settings) == served
