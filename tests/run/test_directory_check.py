"""What `doctor` says about the directory of users; slapd is real."""

import asyncio

import pytest

from proxykit.slapd import BASE, PASSWORD, PEOPLE, READER, TEMPLATE, slapd
from secondlook.config.ldap import LdapSettings
from secondlook.proxy.access.ldap import Ldap
from secondlook.run.diagnosis.directory_check import directory

SEARCH = {"base": PEOPLE, "bind_dn": READER[0], "password": READER[1]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


def look(**given):
    finding = asyncio.run(directory(LdapSettings.model_validate({"timeout": "10s"} | given)))
    assert (finding.result == "ok") is (finding.remedy is None)
    return finding


@pytest.mark.parametrize("how", [{"bind": TEMPLATE}, {"search": SEARCH}])
def test_one_that_answers(server, how):
    found = look(uri=server.uri, **how)
    assert (found.result, found.text) == ("ok", f"{server.uri} answers about users")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"uri": "ldap://127.0.0.1:1", "bind": TEMPLATE}, "127.0.0.1:1: Connection refused"),
        (
            {"search": SEARCH | {"password": "wrong"}},
            "it refuses clients.ldap.search.bind_dn and its password",
        ),
        (
            {"search": SEARCH | {"base": f"ou=no,{BASE}"}},
            f"it answers the search in ou=no,{BASE} with NO_SUCH_OBJECT",
        ),
        ({"bind": TEMPLATE, "starttls": True, "ca": "/nowhere/ca.pem"}, "No such file"),
    ],
)
def test_one_that_does_not(server, given, told):
    found = look(**({"uri": server.uri} | given))
    assert found.result == "problem"
    assert told in found.text


def test_one_that_lets_everybody_in(server, monkeypatch):
    holds = Ldap.holds
    monkeypatch.setattr(Ldap, "holds", lambda self, name, password: holds(self, "ann", PASSWORD))
    assert "that nobody has" in look(uri=server.uri, bind=TEMPLATE).text
