"""What the settings of a directory have to be."""

import pytest
from pydantic import ValidationError

from secondlook.config.ldap import LdapSettings
from secondlook.config.traffic import ClientsSettings

BIND = "uid={user},dc=example"


def settings(**given):
    return LdapSettings.model_validate({"uri": "ldaps://ldap.example", "bind": BIND} | given)


def test_defaults():
    found = settings()
    assert found.place == ("ldap.example", 636, True)
    assert (found.timeout, found.remember, found.stale) == (3, 600, 8 * 3600)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"uri": "LDAPS://[fd00::1]:1636/"}, ("fd00::1", 1636, True)),
        ({"uri": "ldap://127.0.0.1"}, ("127.0.0.1", 389, False)),
        ({"uri": "ldap://[::1]:3890"}, ("::1", 3890, False)),
        ({"uri": "ldap://ldap.example", "starttls": True}, ("ldap.example", 389, False)),
    ],
)
def test_where_it_is(given, place):
    assert settings(**given).place == place


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"uri": "https://ldap.example"}, "expected an address such as ldaps://"),
        ({"uri": "ldaps://ldap.example/dc=x"}, "expected an address such as ldaps://"),
        ({"uri": "ldaps://ldap.example:65536"}, "expected an address such as ldaps://"),
        ({"uri": "ldap://ldap.example"}, "would go to ldap.example in the clear"),
        ({"uri": "ldap://192.0.2.1"}, "would go to 192.0.2.1 in the clear"),
        ({"starttls": True}, "ldaps:// is TLS from the first byte on"),
        ({"bind": None}, "either bind or search"),
        ({"search": {"base": "dc=x"}}, "either bind or search"),
        ({"bind": "uid=ann,dc=x"}, "expected {user} once"),
        ({"bind": "uid={user},ou={user}"}, "expected {user} once"),
        ({"bind": None, "search": {"base": "dc=x", "filter": "(uid=ann)"}}, "expected {user} in the filter"),
        ({"bind": None, "search": {"base": "dc=x", "filter": "(uid={user}"}}, "expected a filter of LDAP"),
        ({"bind": None, "search": {"base": "dc=x", "bind_dn": "cn=r"}}, "both bind_dn and password"),
        (
            {"bind": None, "search": {"base": "dc=x", "bind_dn": "cn=r", "password": ""}},
            "at least 1 character",
        ),
        ({"timeout": 0}, "more than 0"),
    ],
)
def test_what_does_not_fit(given, expected):
    with pytest.raises(ValidationError) as error:
        settings(**given)
    assert expected in str(error.value)


def test_a_ca_that_cannot_be_used_is_named_where_it_is_served_from(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    given = {"uri": "ldaps://ldap.example", "bind": BIND, "ca": str(tmp_path / "ca.pem")}
    LdapSettings.model_validate(given)
    with pytest.raises(ValidationError, match="cannot use"):
        LdapSettings.model_validate(given, context={"serving": True})


def test_the_password_stays_out_of_logs():
    search = {"base": "dc=x", "bind_dn": "cn=r", "password": "very secret"}
    assert "very secret" not in repr(settings(bind=None, search=search))


def test_groups_name_users_of_the_directory_as_they_are_known_here():
    ldap = {"uri": "ldaps://ldap.example", "bind": BIND}
    ClientsSettings.model_validate({"ldap": ldap, "groups": [{"name": "g", "users": ["ann"]}]}).check_users()
    wrong = ClientsSettings.model_validate({"ldap": ldap, "groups": [{"name": "g", "users": ["Ann"]}]})
    with pytest.raises(Exception, match="or one of the directory in lower case"):
        wrong.check_users()
    assert wrong.can_sign_in
    assert not ClientsSettings().can_sign_in
