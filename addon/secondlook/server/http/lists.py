"""The three methods about hash lists: get one, get several, name those there are."""

import base64
import binascii
from collections.abc import Mapping

from secondlook.config.service import PublishSettings
from secondlook.core.lists.name import Role
from secondlook.ground.errors import PatternError
from secondlook.server.http.answer import PROTOBUF, Answer, message_answer
from secondlook.server.http.query import Fields, batch_request, get_request, list_request, wants_private
from secondlook.server.meter import Meter
from secondlook.server.publish.detail import RISK_NUMBERS, THREAT_NUMBERS, varint
from secondlook.server.publish.generation import PublishedList
from secondlook.server.reader import Reader
from secondlook.server.store.names import UNFILLED, describe, known_names
from secondlook.server.updates import Update, empty_update
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest
from secondlook.wire.version import ListVersion

_HASH_LISTS = b"\x0a"  # BatchGetHashListsResponse.hash_lists = 1
_WAIT = b"\x32"  # HashList.minimum_wait_duration = 6
_GENERATION = varint(50_002 << 3)  # HashList.generation
_LENGTHS = {4: 2, 8: 3, 16: 4, 32: 5}  # HashLength by width
DEFAULT_PAGE = 50
MAX_PAGE = 1000
MIN_WAIT_S = 300  # the protocol's floor: clients take less for "ask again at once"


class ListMethods:
    """Answers from a reader's lists; lists of ours or public ones that nobody fills are empty full lists."""

    def __init__(
        self,
        reader: Reader,
        meter: Meter,
        settings: PublishSettings,
        hidden: frozenset[str] = frozenset(),
        incomplete: frozenset[str] = frozenset(),
    ) -> None:
        self._reader = reader
        self._hidden = hidden
        self._incomplete = incomplete
        self._meter = meter
        seconds = b"\x08" + varint(max(MIN_WAIT_S, round(settings.minimum_wait)))
        self._wait = _WAIT + varint(len(seconds)) + seconds

    async def get(self, fields: Fields, *, as_json: bool, name: str) -> Answer:
        """Answer `hashList/{name}`."""
        request = get_request(name, fields)
        packed = await self._packed(request.name, request.version, request.size_constraints)
        if as_json:
            return message_answer(pb.HashList.FromString(packed), as_json=True, private=wants_private(fields))
        return Answer(200, packed, PROTOBUF)

    async def batch_get(self, fields: Fields, *, as_json: bool) -> Answer:
        """Answer `hashLists:batchGet`: the lists in the order in which they were named."""
        request = batch_request(fields)
        versions: dict[str, bytes] = {}
        for blob in request.version:
            held = ListVersion.decode(blob)
            if held is None:
                continue
            if held.name in versions:
                raise BadRequest(f"two versions of {held.name}")
            versions[held.name] = blob
        for name in request.names:
            if name not in self._lists and name not in known_names():
                raise BadRequest(f"no list is called {name}")
        parts = []
        for name in request.names:
            packed = await self._packed(name, versions.get(name, b""), request.size_constraints)
            parts += [_HASH_LISTS, varint(len(packed)), packed]
        body = b"".join(parts)
        if as_json:
            return message_answer(
                pb.BatchGetHashListsResponse.FromString(body), as_json=True, private=wants_private(fields)
            )
        return Answer(200, body, PROTOBUF)

    async def index(self, fields: Fields, *, as_json: bool) -> Answer:
        """Answer `hashLists`: names, versions and metadata, no entries."""
        request = list_request(fields)
        names = [*sorted(self._lists), *sorted(UNFILLED)]
        start = 0
        if request.page_token:
            try:
                start = int(base64.urlsafe_b64decode(request.page_token))
            except (ValueError, binascii.Error):
                raise BadRequest("pageToken is none of ours") from None
        if request.page_size < 0 or not 0 <= start <= len(names):
            raise BadRequest("pageSize and pageToken are not negative, and inside the list")
        end = start + min(request.page_size or DEFAULT_PAGE, MAX_PAGE)
        answer = pb.ListHashListsResponse()
        for name in names[start:end]:
            answer.hash_lists.append(self._description(name))
        if end < len(names):
            answer.next_page_token = base64.urlsafe_b64encode(str(end).encode()).decode()
        return message_answer(answer, as_json=as_json, private=wants_private(fields))

    async def _packed(self, name: str, version: bytes, limits: pb.SizeConstraints) -> bytes:
        update: Update
        number = self._reader.number  # of the lists that are looked into next: nothing is awaited in between
        if name in self._lists:
            update = await self._reader.update(
                name, version, limits.max_update_entries, limits.max_database_entries
            )
        elif name not in known_names():
            raise KeyError(name)
        elif name not in UNFILLED and number is None:
            raise PatternError("nothing is published here yet")
        else:
            update = empty_update(name)
        self._meter.updates[name, update.kind] += 1
        served = b"" if number is None else _GENERATION + varint(number)
        return update.packed + served if update.more else update.packed + self._wait + served

    @property
    def _lists(self) -> Mapping[str, PublishedList]:
        lists = self._reader.lists
        if not self._hidden:
            return lists
        return {name: entry for name, entry in lists.items() if name not in self._hidden}

    def _description(self, name: str) -> pb.HashList:
        entry = self._lists.get(name)
        if entry is None:
            message = pb.HashList.FromString(empty_update(name).packed)
            message.metadata.description = "public list that this server does not fill"
            message.metadata.hash_length = _LENGTHS[UNFILLED[name]]  # type: ignore[assignment]
            return message
        message = describe_list(entry)
        message.generation = self._reader.number or 0
        if name in self._incomplete:
            message.metadata.complete = False
        return message


def describe_list(entry: PublishedList) -> pb.HashList:
    """Return a list's name, version and metadata."""
    facts = entry.facts
    message = pb.HashList(name=entry.name, version=entry.version, sha256_checksum=entry.checksum)
    if entry.signature:
        message.signature = entry.signature
    about = message.metadata
    about.description = describe(facts)
    about.hash_length = _LENGTHS[facts.width]  # type: ignore[assignment]
    if facts.role is Role.KNOWN_GOOD:
        about.likely_safe_types.append(pb.GENERAL_BROWSING)
    elif facts.threat is not None:
        about.threat_types.append(THREAT_NUMBERS[facts.threat])  # type: ignore[arg-type]
        about.risk = RISK_NUMBERS[facts.risk]  # type: ignore[assignment]
    about.complete = entry.complete
    if entry.canary:
        about.canary = entry.canary
    about.digest_kinds.extend(entry.digests)
    if entry.reduction is not None:
        about.reduction.generation = entry.reduction.generation
        about.reduction.count = entry.reduction.count
        about.reduction.signature = entry.reduction.signature
    return message
