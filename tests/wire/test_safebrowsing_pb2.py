"""The messages: golden bytes, private fields, and generated code that is what `make proto` makes."""

import base64
import importlib.util
import subprocess
import sys

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from secondlook.wire import safebrowsing_pb2 as pb
from wirekit import vectors

A_EXAMPLE = bytes.fromhex("291bc5421f1cd54d99afcc55d166e2b9fe42447025895bf09dd41b2110a687dc")


def test_golden_search():
    request = pb.SearchHashesRequest(hash_prefixes=[A_EXAMPLE[:4]])
    assert request.SerializeToString().hex() == vectors.SEARCH_REQUEST
    response = pb.SearchHashesResponse()
    response.cache_duration.seconds = 300
    assert response.SerializeToString().hex() == vectors.SEARCH_NOTHING
    found = response.full_hashes.add(full_hash=A_EXAMPLE)
    found.full_hash_details.add(threat_type=pb.SOCIAL_ENGINEERING)
    found.full_hash_details.add(threat_type=pb.MALWARE, attributes=[pb.CANARY])
    assert response.SerializeToString().hex() == vectors.SEARCH_RESPONSE


@pytest.mark.parametrize("golden", [vectors.BATCH_FULL, vectors.BATCH_PARTIAL])
def test_golden_lists_come_back_to_the_byte(golden):
    assert pb.BatchGetHashListsResponse.FromString(bytes.fromhex(golden)).SerializeToString().hex() == golden


def test_golden_requests_of_browsers():
    firefox = pb.BatchGetHashListsRequest.FromString(base64.urlsafe_b64decode(vectors.FIREFOX_REQUEST))
    assert list(firefox.names) == ["uws-4b"]
    assert [version.hex() for version in firefox.version] == [vectors.FIREFOX_VERSION]
    chromium = pb.BatchGetHashListsRequest.FromString(base64.urlsafe_b64decode(vectors.CHROMIUM_REQUEST))
    assert list(chromium.names) == vectors.CHROMIUM_NAMES
    assert not chromium.version


PRIVATE = {
    pb.FullHash.FullHashDetail: {
        "list": 50001,
        "risk": 50002,
        "feeds": 50003,
        "family": 50004,
        "first_seen": 50005,
    },
    pb.HashListMetadata: {
        "complete": 50001,
        "risk": 50002,
        "canary": 50003,
        "digest_kinds": 50004,
        "reduction": 50005,
    },
    pb.HashList: {"signature": 50001, "generation": 50002},
}
TYPES = {
    "list": FieldDescriptor.TYPE_STRING,
    "feeds": FieldDescriptor.TYPE_STRING,
    "family": FieldDescriptor.TYPE_STRING,
    "first_seen": FieldDescriptor.TYPE_INT64,
    "complete": FieldDescriptor.TYPE_BOOL,
    "canary": FieldDescriptor.TYPE_BYTES,
    "digest_kinds": FieldDescriptor.TYPE_STRING,
    "reduction": FieldDescriptor.TYPE_MESSAGE,
    "signature": FieldDescriptor.TYPE_BYTES,
    "generation": FieldDescriptor.TYPE_INT64,
    "risk": FieldDescriptor.TYPE_ENUM,
}


@pytest.mark.parametrize("message", PRIVATE)
def test_private_fields_have_the_numbers_of_the_contract(message):
    fields = {field.name: field for field in message.DESCRIPTOR.fields if field.number >= 50_000}
    assert {name: field.number for name, field in fields.items()} == PRIVATE[message]
    assert all(field.type == TYPES[name] for name, field in fields.items())
    assert dict(pb.Risk.items()) == {
        "RISK_UNSPECIFIED": 0,
        "DANGEROUS": 1,
        "HIGHLY_SUSPICIOUS": 2,
        "SUSPICIOUS": 3,
    }


def test_unknown_enum_values_are_kept_as_numbers():
    detail = pb.FullHash.FullHashDetail.FromString(bytes.fromhex("08e807"))
    assert detail.threat_type == 1000
    assert detail.SerializeToString().hex() == "08e807"


def test_json_is_that_of_proto3():
    response = pb.SearchHashesResponse.FromString(bytes.fromhex(vectors.SEARCH_RESPONSE))
    assert json_format.MessageToDict(response) == {
        "fullHashes": [
            {
                "fullHash": base64.b64encode(A_EXAMPLE).decode(),
                "fullHashDetails": [
                    {"threatType": "SOCIAL_ENGINEERING"},
                    {"threatType": "MALWARE", "attributes": ["CANARY"]},
                ],
            }
        ],
        "cacheDuration": "300s",
    }


@pytest.mark.skipif(importlib.util.find_spec("grpc_tools") is None, reason="grpcio-tools is not installed")
def test_generated_code_is_what_make_proto_makes(repository, tmp_path):
    wire = "secondlook/wire"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I",
            "addon",
            f"--python_out={tmp_path}",
            f"--pyi_out={tmp_path}",
            f"addon/{wire}/safebrowsing.proto",
        ],
        cwd=repository,
        check=True,
    )
    for name in ("safebrowsing_pb2.py", "safebrowsing_pb2.pyi"):
        assert (tmp_path / wire / name).read_text() == (repository / "addon" / wire / name).read_text()
