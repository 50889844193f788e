"""Request fields out of a query string, in three forms, within bounds."""

import base64
from urllib.parse import quote

import pytest

from secondlook.server.http import query
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest

PREFIX = b"\xfb\xff\xfe\x01"  # has both letters in which the alphabets differ


@pytest.mark.parametrize("text", [b"+//+AQ==", b"-__-AQ==", b"-__-AQ", b" //+AQ=="])
def test_base64_is_read_in_either_alphabet_padded_or_not(text):
    assert query.decode_base64(text) == PREFIX


@pytest.mark.parametrize("text", [b"a", b"ab*c", b"+//+AQ==x"])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(BadRequest, match="not base64"):
        query.decode_base64(text)


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"a=1&a=2&b", {b"a": [b"1", b"2"], b"b": [b""]}),
        (b"a=x+y%2B%2F%3D", {b"a": [b"x+y+/="]}),
        (b"%61=%C3%A4", {b"a": ["ä".encode()]}),
    ],
)
def test_a_plus_stays_what_it_is(raw, fields):
    assert query.parse_query(raw) == fields


def packed(message):
    return b"$req=" + quote(base64.urlsafe_b64encode(message.SerializeToString()).decode()).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"hashPrefixes=" + quote(base64.b64encode(PREFIX)).encode(),
        b"hashPrefixes="
        + base64.urlsafe_b64encode(PREFIX)
        + b"&hashPrefixes="
        + base64.urlsafe_b64encode(PREFIX),
        packed(pb.SearchHashesRequest(hash_prefixes=[PREFIX, PREFIX])),
    ],
)
def test_prefixes_are_the_same_in_each_form_and_without_repeats(raw):
    assert query.search_prefixes(raw, 2)[0] == [PREFIX]


@pytest.mark.parametrize(
    ("prefixes", "fault"),
    [([], "missing"), ([PREFIX] * 3, "at most 2"), ([b"abc"], "4 bytes"), ([b"abcde"], "4 bytes")],
)
def test_prefixes_out_of_bounds_are_refused(prefixes, fault):
    with pytest.raises(BadRequest, match=fault):
        query.search_prefixes(packed(pb.SearchHashesRequest(hash_prefixes=prefixes)), 2)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "names is missing"),
        ("names=a&names=a", "named twice"),
        ("&".join(f"names=n{at}" for at in range(query.MAX_NAMES + 1)), "at most"),
        ("names=a&sizeConstraints.maxUpdateEntries=1023", "at least 1024"),
        ("names=a&sizeConstraints.maxUpdateEntries=-1", "is no number"),
        (f"names=a&sizeConstraints.maxDatabaseEntries={2**31}", "is no number"),
        ("names=%ff", "not ASCII"),
        ("$req=////", "not the request message"),
    ],
)
def test_a_batch_out_of_bounds_is_refused(text, fault):
    with pytest.raises(BadRequest, match=fault):
        query.batch_request(query.parse_query(text.encode()))


def test_a_batch_within_bounds_is_read_with_its_constraints():
    text = "names=a&names=b&version=AQ%3D%3D&version=&sizeConstraints.maxUpdateEntries=1024"
    request = query.batch_request(query.parse_query(text.encode()))
    assert (list(request.names), list(request.version)) == (["a", "b"], [b"\x01"])
    assert request.size_constraints.max_update_entries == 1024


def test_one_list_has_one_version():
    with pytest.raises(BadRequest, match="more than one version"):
        query.get_request("a", {b"version": [b"AQ==", b"Ag=="]})
    assert query.get_request("a", {b"version": [b"", b"AQ=="]}).version == b"\x01"


@pytest.mark.parametrize(
    ("fields", "accept", "is_json"),
    [
        ({b"alt": [b"json"]}, b"", True),
        ({b"alt": [b"proto"]}, b"application/json", False),
        ({}, b"application/json; q=0.5", True),
        ({}, b"text/html, Application/JSON;q=0.5", True),
        ({}, b"application/json;q=0", False),
        ({}, b"application/json; q=0.000, */*", False),
        ({}, b"application/jsonp", False),
        ({}, b"*/*", False),
        ({}, b"application/x-protobuf, application/json;q=0.5", False),
        ({}, b"application/json, application/x-protobuf;q=0.5", True),
        ({}, b"application/protobuf;q=0.9,application/json;q=0.9", True),
    ],
)
def test_json_is_for_who_asks_for_it(fields, accept, is_json):
    assert query.wants_json(fields, accept) is is_json


@pytest.mark.parametrize(("value", "wanted"), [(b"1", True), (b"true", True), (b"0", False), (b"", False)])
def test_private_fields_are_for_who_asks_for_them(value, wanted):
    assert query.wants_private({b"private": [value]}) is wanted
