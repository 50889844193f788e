"""Answers in protobuf or JSON, and errors as google.rpc.Status."""

import json
from dataclasses import dataclass

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from secondlook.wire import safebrowsing_pb2 as pb

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
FIRST_PRIVATE = 50_001  # number of a field
# HTTP status -> google.rpc code and its name
_CODES = {
    400: (3, "INVALID_ARGUMENT"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    405: (12, "UNIMPLEMENTED"),
    429: (8, "RESOURCE_EXHAUSTED"),
    503: (14, "UNAVAILABLE"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and media type of one answer."""

    status: int
    body: bytes
    media_type: str = PROTOBUF
    headers: tuple[tuple[bytes, bytes], ...] = ()


def message_answer(message: Message, *, as_json: bool, private: bool) -> Answer:
    """Return a message in the form that the client asked for.

    JSON has our private fields only with `private`: a strict parser of the public messages refuses a name
    that it does not know, while one of protobuf passes over a number.
    """
    if as_json:
        if not private:
            _strip(message)
        return Answer(200, MessageToJson(message, indent=None).encode(), JSON)
    return Answer(200, message.SerializeToString())


def _strip(message: Message) -> None:
    """Take our private fields out of a message and those in it."""
    for field, value in message.ListFields():
        if field.number >= FIRST_PRIVATE:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                _strip(each)


def error_answer(status: int, text: str, *, as_json: bool) -> Answer:
    """Return an error; JSON clients see it as Google's servers put it."""
    code, name = _CODES[status]
    if as_json:
        body = {"error": {"code": status, "message": text, "status": name}}
        return Answer(status, json.dumps(body).encode(), JSON)
    return Answer(status, pb.Status(code=code, message=text).SerializeToString())
