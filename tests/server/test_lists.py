"""The methods about hash lists, asked without a socket, of a reader that names what it was asked for."""

import base64
import json

import pytest

from secondlook.config.service import PublishSettings
from secondlook.core.lists.name import OTHER_PUBLIC
from secondlook.ground.errors import PatternError
from secondlook.server.http.lists import DEFAULT_PAGE, MAX_PAGE, MIN_WAIT_S, ListMethods, describe_list
from secondlook.server.http.query import parse_query
from secondlook.server.meter import Meter
from secondlook.server.publish.generation import PublishedList, Reduction
from secondlook.server.updates import Update
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest
from secondlook.wire.version import ListVersion

pytestmark = pytest.mark.anyio
CHECKSUM = bytes(range(32))
EMPTY = sorted(OTHER_PUBLIC)


def published(name, **more):
    return PublishedList(name=name, count=7, checksum=CHECKSUM, since=3, **more)


class Lists:
    """A reader: each update is its list's name; `cut` are those of which there is more."""

    number = 1

    def __init__(self, *names, cut=()):
        self.lists = {name: published(name) for name in names}
        self.cut = cut
        self.asked = []

    async def update(self, *asked):
        self.asked.append(asked)
        name = asked[0]
        return Update(pb.HashList(name=name).SerializeToString(), "full", more=name in self.cut)


def methods(*names, cut=(), wait=600, **more):
    reader, meter = Lists(*names, cut=cut), Meter()
    return ListMethods(reader, meter, PublishSettings(minimum_wait=wait), **more), reader, meter


def waits(message):
    return message.minimum_wait_duration.seconds if message.HasField("minimum_wait_duration") else None


async def get(made, name, query=b""):
    return pb.HashList.FromString((await made.get(parse_query(query), as_json=False, name=name)).body)


async def batch(made, query):
    answer = await made.batch_get(parse_query(query), as_json=False)
    return list(pb.BatchGetHashListsResponse.FromString(answer.body).hash_lists)


async def index(made, query=b""):
    answer = await made.index(parse_query(query), as_json=False)
    return pb.ListHashListsResponse.FromString(answer.body)


async def test_the_reader_is_asked_with_the_clients_version_and_limits():
    made, reader, meter = methods("mw-8b")
    held = ListVersion("mw-8b", 2, b"12345678").encode()
    limits = b"&sizeConstraints.maxUpdateEntries=2048&sizeConstraints.maxDatabaseEntries=9"
    query = b"version=" + base64.urlsafe_b64encode(held) + limits
    await get(made, "mw-8b", query)
    await batch(made, b"names=mw-8b&" + query)
    assert reader.asked == [("mw-8b", held, 2048, 9)] * 2
    assert meter.updates["mw-8b", "full"] == 2


async def test_a_version_goes_with_the_list_it_is_of():
    made, reader, _ = methods("mw-8b", "se-8b", "uws-8b")
    held = {name: ListVersion(name, 2, b"12345678").encode() for name in ("uws-8b", "mw-8b")}
    versions = b"".join(b"&version=" + base64.urlsafe_b64encode(each) for each in (*held.values(), b"none"))
    lists = await batch(made, b"names=mw-8b&names=se-8b&names=uws-8b" + versions)
    assert [each.name for each in lists] == ["mw-8b", "se-8b", "uws-8b"]
    assert [(name, version) for name, version, *_ in reader.asked] == [
        ("mw-8b", held["mw-8b"]),
        ("se-8b", b""),
        ("uws-8b", held["uws-8b"]),
    ]


async def test_two_versions_of_one_list_are_refused():
    made, reader, _ = methods("mw-8b")
    versions = [ListVersion("mw-8b", number, b"12345678").encode() for number in (2, 3)]
    query = b"&".join(b"version=" + base64.urlsafe_b64encode(each) for each in versions)
    with pytest.raises(BadRequest, match="two versions of mw-8b"):
        await batch(made, b"names=mw-8b&" + query)
    assert reader.asked == []


@pytest.mark.parametrize(("wait", "waited"), [(1, MIN_WAIT_S), (MIN_WAIT_S, MIN_WAIT_S), (1200.4, 1200)])
async def test_a_client_waits_unless_there_is_more(wait, waited):
    made, _, _ = methods("mw-8b", "se-8b", cut=["se-8b"], wait=wait)
    lists = await batch(made, b"names=mw-8b&names=se-8b&names=" + EMPTY[0].encode())
    assert [waits(each) for each in lists] == [waited, None, waited]
    assert waits(await get(made, "mw-8b")) == waited


@pytest.mark.parametrize("cut", [(), ("mw-8b",)])
async def test_each_answer_names_the_generation_that_it_is_of(cut):
    made, reader, _ = methods("mw-8b", cut=cut)
    reader.number = 300
    assert {each.generation for each in await batch(made, b"names=mw-8b&names=se-8b")} == {300}
    assert next(each for each in (await index(made)).hash_lists if each.name == "mw-8b").generation == 300


async def test_a_public_list_that_nobody_fills_is_full_and_empty():
    made, reader, meter = methods("mw-8b")
    message = await get(made, EMPTY[0])
    assert (message.name, message.partial_update, message.WhichOneof("compressed_additions")) == (
        EMPTY[0],
        False,
        None,
    )
    assert message.version
    assert reader.asked == []
    assert meter.updates[EMPTY[0], "empty"] == 1


async def test_one_of_ours_that_is_not_filled_is_empty_once_anything_is_published():
    made, reader, _ = methods("mw-8b")
    assert (await get(made, "se-hs-8b")).name == "se-hs-8b"
    reader.number = None
    with pytest.raises(PatternError, match="nothing is published"):
        await get(made, "se-hs-8b")
    assert (await get(made, EMPTY[0])).name == EMPTY[0]


async def test_a_name_that_is_nobodys():
    made, reader, _ = methods("mw-8b")
    with pytest.raises(KeyError, match="none-such"):
        await get(made, "none-such")
    with pytest.raises(BadRequest, match="none-such"):
        await batch(made, b"names=mw-8b&names=none-such")
    assert reader.asked == []  # a request is refused before any of it is made


async def test_a_list_that_is_switched_off_is_named_nowhere_and_empty():
    made, reader, _ = methods("mw-8b", "se-8b", hidden=frozenset({"se-8b"}))
    assert [each.name for each in (await index(made)).hash_lists] == ["mw-8b", *EMPTY]
    assert (await get(made, "se-8b")).WhichOneof("compressed_additions") is None
    assert (await batch(made, b"names=se-8b"))[0].name == "se-8b"
    assert reader.asked == []


async def test_a_list_that_the_settings_call_incomplete_is():
    made, _, _ = methods("mw-8b", "se-8b", incomplete=frozenset({"se-8b"}))
    known = [each.metadata.complete for each in (await index(made)).hash_lists[:2]]
    assert known == [True, False]


async def test_the_index_is_read_page_by_page_and_holds_each_list_once():
    made, _, _ = methods("uws-8b", "mw-8b", "se-8b")
    seen, token = [], ""
    while True:
        page = await index(made, b"pageSize=2&pageToken=" + token.encode())
        seen += [each.name for each in page.hash_lists]
        token = page.next_page_token
        if not token:
            break
        assert len(page.hash_lists) == 2
    assert seen == ["mw-8b", "se-8b", "uws-8b", *EMPTY]


async def test_a_page_that_holds_the_last_list_is_the_last():
    made, _, _ = methods("mw-8b")
    page = await index(made, b"pageSize=%d" % (1 + len(EMPTY)))
    assert (len(page.hash_lists), page.next_page_token) == (1 + len(EMPTY), "")
    lengths = {4: 2, 8: 3, 16: 4, 32: 5}
    assert [each.metadata.hash_length for each in page.hash_lists[1:]] == [
        lengths[OTHER_PUBLIC[name]] for name in EMPTY
    ]


async def test_the_size_of_a_page_is_bounded():
    made, reader, _ = methods()
    reader.lists = {f"{number:04}": published("mw-8b") for number in range(MAX_PAGE + 1)}
    assert len((await index(made)).hash_lists) == DEFAULT_PAGE
    assert len((await index(made, b"pageSize=%d" % (MAX_PAGE + 1))).hash_lists) == MAX_PAGE


def at(place):
    return base64.urlsafe_b64encode(place).replace(b"=", b"%3D")


@pytest.mark.parametrize("token", [b"!", at(b"x"), at(b"-1"), at(b"%d" % (len(EMPTY) + 1))])
async def test_a_page_that_is_none(token):
    made, _, _ = methods()
    with pytest.raises(BadRequest, match="pageToken"):
        await index(made, b"pageToken=" + token)


async def test_a_page_of_less_than_nothing():
    made, _, _ = methods()
    request = base64.urlsafe_b64encode(pb.ListHashListsRequest(page_size=-1).SerializeToString())
    with pytest.raises(BadRequest, match="pageSize"):
        await index(made, b"$req=" + request)


async def test_after_the_last_list_comes_an_empty_page():
    made, _, _ = methods()
    page = await index(made, b"pageToken=" + at(b"%d" % len(EMPTY)))
    assert (len(page.hash_lists), page.next_page_token) == (0, "")


async def test_in_json_each_of_them_has_the_same_answer():
    made, _, _ = methods("mw-8b")
    one = json.loads((await made.get({}, as_json=True, name="mw-8b")).body)
    many = json.loads((await made.batch_get({b"names": [b"mw-8b"]}, as_json=True)).body)
    names = json.loads((await made.index({}, as_json=True)).body)
    assert one["name"] == many["hashLists"][0]["name"] == names["hashLists"][0]["name"] == "mw-8b"
    assert one == many["hashLists"][0]
    assert one["minimumWaitDuration"] == "600s"


@pytest.mark.parametrize("query", [b"", b"private=1"])
async def test_private_fields_stand_in_json_for_who_asks(query):
    made, reader, _ = methods()
    reader.lists = {"mw-8b": published("mw-8b", canary=b"c" * 32)}
    first = json.loads((await made.index(parse_query(query), as_json=True)).body)["hashLists"][0]
    assert ("canary" in first["metadata"]) is bool(query)


@pytest.mark.parametrize(
    ("name", "threats", "risk", "length"),
    [
        ("mw-8b", [pb.MALWARE], 1, 3),
        ("se-hs-8b", [pb.SOCIAL_ENGINEERING], 2, 3),
        ("uws-s-8b", [pb.UNWANTED_SOFTWARE], 3, 3),
        ("mw-4b", [pb.MALWARE], 1, 2),
        ("x-file-mw-8b", [pb.MALWARE], 1, 3),
    ],
)
def test_what_is_told_of_a_list_that_blocks(name, threats, risk, length):
    about = describe_list(published(name)).metadata
    assert (list(about.threat_types), about.risk, about.hash_length) == (threats, risk, length)
    assert list(about.likely_safe_types) == []


def test_what_is_told_of_a_list_of_what_is_safe():
    about = describe_list(published("gc-32b")).metadata
    assert list(about.likely_safe_types) == [pb.GENERAL_BROWSING]
    assert (list(about.threat_types), about.risk, about.hash_length) == ([], 0, 5)


def test_what_proves_a_list_goes_with_it():
    reduction = Reduction(generation=2, count=5, signature=b"meant")
    entry = published(
        "mw-8b", signature=b"signed", canary=b"c" * 32, digests=("sha256", "md5"), reduction=reduction,
        complete=False,
    )  # fmt: skip
    message = describe_list(entry)
    assert (message.name, message.version, message.sha256_checksum, message.signature) == (
        "mw-8b",
        entry.version,
        CHECKSUM,
        b"signed",
    )
    about = message.metadata
    assert (about.complete, about.canary, list(about.digest_kinds)) == (False, b"c" * 32, ["sha256", "md5"])
    meant = about.reduction
    assert (meant.generation, meant.count, meant.signature) == (2, 5, b"meant")
    assert not describe_list(published("mw-8b")).metadata.HasField("reduction")
