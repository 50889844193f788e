"""Names of users in LDAP: one spelling, and never more than a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sansldap import FilterEquality, LDAPFilter

from secondlook.core.ldap_text import in_dn, in_filter, user_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Ann", "ann"),
        ("a" * 64, "a" * 64),
        ("ann@example.org", "ann@example.org"),
        ("", None),
        ("a" * 65, None),
        ("a nn", None),
        ("ann ", None),
        ("ann\n", None),
        ("ànn", None),  # to some directories the same as ann
        ("an\u00adn", None),  # to all (RFC 4518, 2.2)
        ("ann\0", None),
    ],
)
def test_a_name_has_one_spelling(raw, name):
    assert user_name(raw) == name


@pytest.mark.parametrize(
    ("name", "dn"),
    [
        ("ann", "uid=ann,dc=x"),
        ("ann,dc=y", "uid=ann\\,dc\\=y,dc=x"),
        ('a"+;<>\\#', 'uid=a\\"\\+\\;\\<\\>\\\\\\#,dc=x'),
        (" a\0", "uid=\\20a\\00,dc=x"),
    ],
)
def test_a_name_in_a_distinguished_name(name, dn):
    assert in_dn("uid={user},dc=x", name) == dn


@given(st.text(max_size=40))
def test_a_name_is_one_value_of_a_distinguished_name(name):
    value = in_dn("{user}", name)
    read, rest = "", value
    while rest:  # as RFC 4514, 3 reads it
        if rest[0] == "\\" and rest[1] in '"+,;<>\\=#':
            read, rest = read + rest[1], rest[2:]
        elif rest[0] == "\\":
            read, rest = read + chr(int(rest[1:3], 16)), rest[3:]
        else:
            assert rest[0] not in '"+,;<>=\0 #'
            read, rest = read + rest[0], rest[1:]
    assert read == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_name_is_one_value_of_a_filter(name):
    found = LDAPFilter.from_string(in_filter("(uid={user})", name))
    assert found == FilterEquality(attribute="uid", value=name.encode())


def test_a_name_goes_to_each_place_of_a_filter():
    assert in_filter("(|(uid={user})(mail={user}))", "a*)") == "(|(uid=a\\2a\\29)(mail=a\\2a\\29))"
