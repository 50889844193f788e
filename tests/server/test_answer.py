"""Answers in the form that was asked for; JSON of strict readers has public fields alone."""

import json

import pytest

from secondlook.server.http.answer import FIRST_PRIVATE, JSON, PROTOBUF, error_answer, message_answer
from secondlook.wire import safebrowsing_pb2 as pb


def answer():
    found = pb.SearchHashesResponse()
    detail = found.full_hashes.add(full_hash=b"h" * 32).full_hash_details.add(threat_type=1)
    detail.list, detail.family = "mw-8b", "Emotet"
    return found


def test_private_fields_are_there_to_be_stripped():
    names = {
        each.name for each in pb.FullHash.FullHashDetail.DESCRIPTOR.fields if each.number >= FIRST_PRIVATE
    }
    assert {"list", "family"} <= names


def test_protobuf_has_all_fields():
    made = message_answer(answer(), as_json=False, private=False)
    assert (made.status, made.media_type) == (200, PROTOBUF)
    assert pb.SearchHashesResponse.FromString(made.body) == answer()


@pytest.mark.parametrize("private", [True, False])
def test_json_has_private_fields_only_for_who_asks(private):
    made = message_answer(answer(), as_json=True, private=private)
    assert made.media_type == JSON
    [detail] = json.loads(made.body)["fullHashes"][0]["fullHashDetails"]
    assert detail["threatType"] == "MALWARE"
    assert ("list" in detail, "family" in detail) == (private, private)


@pytest.mark.parametrize(
    ("status", "code", "name"), [(400, 3, "INVALID_ARGUMENT"), (429, 8, "RESOURCE_EXHAUSTED")]
)
def test_an_error_is_a_status_in_both_forms(status, code, name):
    made = error_answer(status, "why", as_json=False)
    assert (made.status, pb.Status.FromString(made.body)) == (status, pb.Status(code=code, message="why"))
    assert json.loads(error_answer(status, "why", as_json=True).body) == {
        "error": {"code": status, "message": "why", "status": name}
    }
