"""The protocol as clients speak it: three request forms, two answers, every rule about what is refused."""

import asyncio
import base64
from urllib.parse import quote

import pytest

from secondlook.config.service import LimitsSettings, PublishSettings
from secondlook.core.lists.name import OTHER_PUBLIC
from secondlook.server.http.app import AppSettings
from secondlook.server.store.store import ServerStore
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.version import ListVersion
from serverkit import full_hash, listening, make_store

EVIL = full_hash("evil.example/")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(
        tmp_path_factory.mktemp("app"), [f"evil{at}.example" for at in range(3000)] + ["evil.example"]
    )


def ask(store, *targets, settings=None, headers=None):
    """Give the answers of a listening server to these targets."""

    async def asking():
        async with listening(store, settings) as (_, client):
            return [await client.get(target, headers=headers or {}) for target in targets]

    answers = asyncio.run(asking())
    return answers if len(answers) > 1 else answers[0]


def b64(data: bytes) -> str:
    return quote(base64.b64encode(data), safe="")


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def search_answer(response) -> pb.SearchHashesResponse:
    assert response.status_code == 200, response.content
    assert response.headers["content-type"] == "application/x-protobuf"
    return pb.SearchHashesResponse.FromString(response.content)


def test_firefox_chromium_and_google_forms_give_the_same_answer(store):
    prefix = EVIL[:4]
    request = pb.SearchHashesRequest(hash_prefixes=[prefix]).SerializeToString()
    bare = base64.b64encode(prefix).decode().rstrip("=")
    answers = ask(
        store,
        f"/v5/hashes:search?key=K&hashPrefixes={b64(prefix)}",
        f"/v5/hashes:search?$req={url64(request)}&$ct=application/x-protobuf&key=K",
        f"/v5/hashes:search?$req={quote(url64(request), safe='')}",
        f"/v5/hashes:search?hashPrefixes={url64(prefix)}&alt=proto&unknown=1",
        f"/v5/hashes:search?hashPrefixes={bare}",
        f"/v5/hashes:search?hashPrefixes={bare.replace('+', '%20')}&prettyPrint=true",
    )
    for answer in answers:
        message = search_answer(answer)
        assert [each.full_hash for each in message.full_hashes] == [EVIL]
        [detail] = message.full_hashes[0].full_hash_details
        assert (detail.threat_type, detail.list, detail.risk, list(detail.feeds)) == (
            1,
            "mw-8b",
            1,
            ["list.txt"],
        )
        assert 240 <= message.cache_duration.seconds <= 300


def test_a_browser_is_shown_what_this_is_and_why_it_gets_nothing(store):
    settings = AppSettings(tokens=("secret",))
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    about, refused = ask(store, "/", "/v5/hashLists", settings=settings, headers=browser)
    assert about.status_code == 200
    assert about.text.startswith("This is a Smart Protection Server of Second Look.")
    assert (refused.status_code, refused.text) == (403, "A client token is asked for here.\n")
    for answer in (about, refused):
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_plus_and_slash_of_the_standard_alphabet_survive(store):
    tried = [bytes((0xFB, 0xEF, 0xBE, at)) for at in range(8)] + [b"\xff\xff\xff\xff"]
    for prefix in tried:
        text = base64.b64encode(prefix).decode()
        [raw, space] = ask(
            store,
            f"/v5/hashes:search?hashPrefixes={text}",
            f"/v5/hashes:search?hashPrefixes={text.replace('+', ' ')}",
        )
        assert search_answer(raw).cache_duration.seconds == pytest.approx(54, abs=6)
        assert search_answer(space).cache_duration.seconds == pytest.approx(54, abs=6)


def test_nothing_listed_is_an_answer_with_a_duration(store):
    message = search_answer(ask(store, f"/v5/hashes:search?hashPrefixes={b64(bytes(4))}"))
    assert not message.full_hashes
    assert 48 <= message.cache_duration.seconds <= 60


def test_json_only_where_it_is_asked_for(store):
    target = f"/v5/hashes:search?hashPrefixes={b64(EVIL[:4])}"
    explicit = ask(store, f"{target}&alt=json")
    accepted = ask(store, target, headers={"accept": "application/json"})
    firefox = ask(store, target, headers={"accept": "*/*"})
    proto = ask(store, f"{target}&alt=proto", headers={"accept": "application/json"})
    for answer in (explicit, accepted):
        body = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert base64.b64decode(body["fullHashes"][0]["fullHash"]) == EVIL
        assert body["fullHashes"][0]["fullHashDetails"][0]["threatType"] == "MALWARE"
        assert body["cacheDuration"].endswith("s")
    for answer in (firefox, proto):
        search_answer(answer)


@pytest.mark.parametrize("target", ["/v5/hashLists/", "/v5/hashList/mw-8b/", "/published"])
def test_a_slash_too_many_or_too_few_is_no_redirection(store, target):
    assert ask(store, target, headers={"host": "evil.example"}).status_code == 404


@pytest.mark.parametrize(
    "target", [f"/v5/hashes:search?hashPrefixes={b64(EVIL[:4])}", "/v5/hashList/mw-8b?", "/v5/hashLists?"]
)
def test_json_holds_private_fields_only_for_who_asks(store, target):
    private = {"list", "risk", "feeds", "signature", "complete", "canary", "digestKinds"}

    def keys(value):
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return set(value if isinstance(value, dict) else ()).union(*map(keys, parts))

    assert not private & keys(ask(store, f"{target}&alt=json").json())
    assert private & keys(ask(store, f"{target}&alt=json&private=1").json())


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("hashPrefixes=", 400),
        ("hashPrefixes=AAAA", 400),  # three bytes
        ("hashPrefixes=AAAAAAA=", 400),  # five
        ("hashPrefixes=%%%", 400),
        ("hashPrefixes=!!!!", 400),
        ("$req=AAAA", 400),
        ("&".join(["hashPrefixes=AAAAAA=="] * 1001), 400),
        ("&".join(["hashPrefixes=AAAAAA=="] * 1000), 200),
    ],
)
def test_bad_searches_are_refused_with_a_status(store, query, status):
    answer = ask(store, f"/v5/hashes:search?{query}")
    assert answer.status_code == status
    if status != 200:
        assert pb.Status.FromString(answer.content).code == 3
        told = ask(store, f"/v5/hashes:search?{query}&alt=json").json()
        assert (told["error"]["code"], told["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert told["error"]["message"]


def test_repeated_prefixes_are_answered_once(store):
    part = f"hashPrefixes={b64(EVIL[:4])}"
    message = search_answer(ask(store, f"/v5/hashes:search?{part}&{part}"))
    assert len(message.full_hashes) == 1


def batch(response) -> list[pb.HashList]:
    assert response.status_code == 200, response.content
    return list(pb.BatchGetHashListsResponse.FromString(response.content).hash_lists)


def test_batch_answers_in_the_order_asked_and_fills_public_names(store):
    names = ["se-4b", "mcrx-16b", "uws-4b", "mwb-4b", "bi-4b", "mw-4b", "csdda-32b"]  # as Chromium asks
    request = "CgVzZS00YgoIbWNyeC0xNmIKBnV3cy00YgoGbXdiLTRiCgViaS00YgoFbXctNGIKCWNzZGRhLTMyYg=="
    lists = batch(ask(store, f"/v5/hashLists:batchGet?$req={request}&$ct=application/x-protobuf&key=test"))
    assert [each.name for each in lists] == names
    assert all(each.version and len(each.sha256_checksum) == 32 for each in lists)
    assert all(each.minimum_wait_duration.seconds >= 300 for each in lists)
    assert [each.name for each in lists if each.WhichOneof("compressed_additions")] == [
        "se-4b",
        "uws-4b",
        "mw-4b",
    ]


def test_firefox_sends_one_version_a_name_empty_where_it_has_none(store):
    [first] = batch(ask(store, "/v5/hashLists:batchGet?key=K&names=mw-4b&version="))
    lists = batch(
        ask(
            store,
            f"/v5/hashLists:batchGet?key=K&names=se-4b&names=mw-4b&version=&version={b64(first.version)}",
        )
    )
    assert [(each.name, each.partial_update) for each in lists] == [("se-4b", False), ("mw-4b", True)]
    assert lists[1].WhichOneof("compressed_additions") is None


def test_batch_rules(store):
    [first] = batch(ask(store, "/v5/hashLists:batchGet?names=mw-8b"))
    other = ListVersion("mw-8b", 9, b"12345678").encode()
    bad = [
        "",
        "names=mw-8b&names=mw-8b",
        "names=mw-8b&names=none-such",
        f"names=mw-8b&version={b64(first.version)}&version={b64(other)}",
        "names=mw-8b&sizeConstraints.maxUpdateEntries=5",
        "names=mw-8b&sizeConstraints.maxUpdateEntries=-1",
        "names=mw-8b&sizeConstraints.maxDatabaseEntries=x",
    ]
    assert [ask(store, f"/v5/hashLists:batchGet?{query}").status_code for query in bad] == [400] * len(bad)
    [cut] = batch(ask(store, "/v5/hashLists:batchGet?names=mw-8b&sizeConstraints.maxUpdateEntries=1024"))
    assert cut.additions_eight_bytes.entries_count == 1023
    assert not cut.HasField("minimum_wait_duration")


def test_one_list_by_name(store):
    answer = ask(store, "/v5/hashList/mw-8b?alt=json")
    body = answer.json()
    assert body["name"] == "mw-8b"
    assert int(body["additionsEightBytes"]["entriesCount"]) == 3001
    assert isinstance(body["additionsEightBytes"]["firstValue"], str)  # uint64
    assert ask(store, "/v5/hashList/none-such").status_code == 404
    assert ask(store, "/v5/hashList/bi-4b").status_code == 200


def test_every_name_that_is_ours_or_public_has_an_answer(store, tmp_path):
    names = ("mw-8b", "mw-hs-8b", "se-s-8b", "mw-4b", "uws-4b", "x-file-mw-hs-8b", "gc-32b", "bi-4b")
    batch = ask(store, "/v5/hashLists:batchGet?" + "&".join(f"names={name}" for name in names))
    message = pb.BatchGetHashListsResponse.FromString(batch.content)
    assert tuple(each.name for each in message.hash_lists) == names
    assert all(each.version and len(each.sha256_checksum) == 32 for each in message.hash_lists)
    empty = ServerStore(tmp_path / "empty")
    for name in names:
        status = 200 if name == "bi-4b" else 503
        paths = f"/v5/hashList/{name}", f"/v5/hashLists:batchGet?names={name}"
        assert [each.status_code for each in ask(empty, *paths)] == [status, status]
    other = ask(empty, "/v5/hashList/none-such", "/v5/hashLists:batchGet?names=none-such")
    assert [each.status_code for each in other] == [404, 400]


def test_the_index_tells_all_lists_page_by_page(store):
    seen: list[pb.HashList] = []
    token = ""
    while True:
        answer = ask(store, f"/v5/hashLists?pageSize=5&pageToken={token}")
        page = pb.ListHashListsResponse.FromString(answer.content)
        assert len(page.hash_lists) <= 5
        seen += page.hash_lists
        token = page.next_page_token
        if not token:
            break
    names = [each.name for each in seen]
    assert set(names) >= {"mw-8b", "mw-4b", "se-8b", "uws-8b", "gc-32b", "x-file-mw-8b", *OTHER_PUBLIC}
    assert len(names) == len(set(names))
    malware = next(each for each in seen if each.name == "mw-8b")
    assert malware.metadata.complete
    assert len(malware.metadata.canary) == 32
    assert malware.metadata.hash_length == 3
    assert ask(store, "/v5/hashLists?pageToken=zzz").status_code == 400


def test_whole_urls_can_be_asked_about(store):
    urls = ["http://evil.example/any?x=1", "https://good.example/"]
    answer = ask(store, "/v5/urls:search?" + "&".join(f"urls={quote(url, safe='')}" for url in urls))
    message = pb.SearchUrlsResponse.FromString(answer.content)
    assert [(each.url, list(each.threat_types)) for each in message.threats] == [(urls[0], [1])]
    assert message.cache_duration.seconds > 0
    assert ask(store, "/v5/urls:search").status_code == 400


def test_the_health_of_a_replica_names_its_trouble_below(store):
    settings = AppSettings(trouble=lambda: "nothing came since")
    assert ask(store, "/healthz", settings=settings).text == "ok generation=1\nnothing came since\n"


@pytest.mark.parametrize("fault", [None, "it is full"])
def test_a_store_that_does_not_take_what_a_publisher_has_is_a_gauge(store, fault):
    text = ask(store, "/metrics", settings=AppSettings(store_fault=lambda: fault)).text
    assert f"secondlook_server_store_trouble {float(fault is not None)}" in text


def test_health_metrics_and_other_paths(store, tmp_path):
    health, metrics, other = ask(store, "/healthz", "/metrics", "/v5/other")
    assert health.text == "ok generation=1\n"
    assert "secondlook_server_generation 1.0" in metrics.text
    assert other.status_code == 404
    assert pb.Status.FromString(other.content).code == 5
    told = ask(store, "/nothing/here?alt=json")
    assert (told.headers["content-type"], told.json()["error"]["status"]) == ("application/json", "NOT_FOUND")
    empty = ServerStore(tmp_path / "empty")
    nothing, search = ask(empty, "/healthz", f"/v5/hashes:search?hashPrefixes={b64(bytes(4))}")
    assert (nothing.status_code, search.status_code) == (503, 503)


def test_a_token_is_asked_for_where_there_are_any(store):
    settings = AppSettings(tokens=("secret-1", "secret-2"))
    target = f"/v5/hashes:search?hashPrefixes={b64(EVIL[:4])}"
    assert ask(store, target, settings=settings).status_code == 403
    assert ask(store, f"{target}&key=wrong", settings=settings).status_code == 403
    assert ask(store, f"{target}&key=secret-2", settings=settings).status_code == 200
    assert (
        ask(store, target, settings=settings, headers={"authorization": "Bearer secret-1"}).status_code == 200
    )
    assert ask(store, "/v5/hashLists", "/metrics", settings=settings)[0].status_code == 403
    assert ask(store, "/healthz", settings=settings).status_code == 200


def test_too_many_requests_of_one_address_are_told_to_wait(store):
    settings = AppSettings(limits=LimitsSettings(requests=1, burst=3))
    target = f"/v5/hashes:search?hashPrefixes={b64(EVIL[:4])}"
    answers = ask(store, *[target] * 5, settings=settings)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_behind_a_balancer_the_rate_is_that_of_the_client_it_names(store):
    target = f"/v5/hashes:search?hashPrefixes={b64(EVIL[:4])}"

    def statuses(balancers, *forwarded):
        limits = LimitsSettings(requests=1, burst=1, balancers=balancers)

        async def asking():
            async with listening(store, AppSettings(limits=limits)) as (_, client):
                return [await client.get(target, headers={"x-forwarded-for": each}) for each in forwarded]

        return [answer.status_code for answer in asyncio.run(asking())]

    ours = ("127.0.0.0/8", "10.1.0.0/16")
    assert statuses(ours, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [200, 200, 429]
    # what the client itself put before it says nothing, nor does a second balancer of ours
    assert statuses(ours, "192.0.2.7, 192.0.2.1", "192.0.2.8, 192.0.2.1, 10.1.2.3") == [200, 429]
    assert statuses(ours, "nonsense", "", "127.0.0.1") == [200, 429, 429]
    assert statuses(("10.1.0.0/16",), "192.0.2.1", "192.0.2.2") == [200, 429]  # from no balancer of ours


def test_other_methods_are_refused(store):
    async def asking():
        async with listening(store) as (_, client):
            return await client.post("/v5/hashes:search"), await client.post("/v5/hashLists")

    search, index = asyncio.run(asking())
    assert (search.status_code, index.status_code) == (405, 405)


def test_the_least_waiting_time_is_five_minutes(store):
    settings = AppSettings(publish=PublishSettings(minimum_wait=1))
    [answer] = batch(ask(store, "/v5/hashLists:batchGet?names=mw-8b", settings=settings))
    assert answer.minimum_wait_duration.seconds == 300
