"""Names of clients."""

import pytest

from secondlook.core.rules.client import ClientNameError, client_name, mention, names_client, recorded_client


@pytest.mark.parametrize(
    ("name", "client", "user", "named"),
    [
        ("10.0.0.7", "10.0.0.7", None, True),
        ("10.0.0.7", "10.0.0.8", None, False),
        ("10.0.0.0/24", "10.0.0.8", None, True),
        ("10.0.0.9/24", "10.0.0.8", None, True),
        ("10.0.0.0/24", "10.0.1.8", None, False),
        ("fd00::/8", "fd12::1", None, True),
        ("fd00::/8", "10.0.0.1", None, False),
        ("0.0.0.0/0", "::1", None, False),
        ("anna", None, "anna", True),
        ("anna", "10.0.0.7", "berta", False),
        ("anna", "10.0.0.7", None, False),
        ("10.0.0.0/24", None, None, False),
        ("anna@10.0.0.7", "10.0.0.7", "anna", True),
        ("anna@10.0.0.7", "10.0.0.7", "berta", False),
        ("anna@10.0.0.7", "10.0.0.7", None, False),
        ("anna@10.0.0.7", "10.0.0.8", "anna", False),
        ("anna@10.0.0.0/24", "10.0.0.8", "anna", True),
        ("anna@post.example", "10.0.0.7", "anna", False),
        ("anna@post.example", "10.0.0.7", "anna@post.example", True),
        ("10.0.0.0/24", "unix", None, False),
    ],
)
def test_names_client(name, client, user, named):
    assert names_client(name, client, user) is named


def test_a_name_in_its_shortest_form():
    assert client_name(" 10.0.0.7/24 ") == "10.0.0.0/24"
    assert client_name("::0001") == "::1"
    assert client_name("anna") == "anna"
    assert client_name("anna@::0001") == "anna@::1"
    assert client_name("4711") == "4711"


@pytest.mark.parametrize(
    "text", ["", "  ", "a\0b", "an\u202ena", "300.1.1.1", "1.2.3.4.5", "10.0.0.0/99", "::1::", "[::1]"]
)
def test_nobody_is_not_everybody(text):
    with pytest.raises(ClientNameError):
        client_name(text)


@pytest.mark.parametrize(
    ("text", "client"),
    [
        (" 10.0.0.7", "10.0.0.7"),
        ("10.0.0.7/32", "10.0.0.7"),
        ("FD00:0::1", "fd00::1"),
        ("anna", "anna"),
        ("anna@post.example", "anna@post.example"),
    ],
)
def test_records_are_sought_by_an_address_or_a_user(text, client):
    assert recorded_client(text) == client


@pytest.mark.parametrize(
    "text", ["10.0.0.0/24", "fd00::/8", "anna@10.0.0.7", "anna@10.0.0.0/24", "1.2.3", ""]
)
def test_records_are_sought_by_nothing_else(text):
    with pytest.raises(ClientNameError, match="expected an address"):
        recorded_client(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("got through: 10.0.0.7, 10.0.0.77 and 110.0.0.7", "got through: -, 10.0.0.77 and 110.0.0.7"),
        ("anna@10.0.0.7 at 10.0.0.7.", "anna@- at -."),
        ("10.0.0.7.example 10.0.0.7:80", "10.0.0.7.example 10.0.0.7:80"),
    ],
)
def test_a_mention_is_of_the_whole_name(text, left):
    assert mention("10.0.0.7").sub("-", text) == left
