"""Google's own generated client drives all five methods against our server."""

import asyncio
import base64

import pytest

from serverkit import full_hash, listening, make_store

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)


def drive(url):
    """Call every method once; gives the answers."""
    from google.auth.credentials import AnonymousCredentials
    from googleapiclient.discovery import build
    from googleapiclient.errors import HttpError

    service = build(
        "safebrowsing",
        "v5",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": url},
        static_discovery=True,
        cache_discovery=False,
    )
    prefix = base64.b64encode(full_hash("evil.example/")[:4]).decode()
    safe = base64.urlsafe_b64encode(full_hash("evil.example/")[:4]).decode()
    with service:
        answers = {
            "search": service.hashes().search(hashPrefixes=[prefix]).execute(),
            "search url-safe": service.hashes().search(hashPrefixes=[safe, "AAAAAA=="]).execute(),
            "get": service.hashList().get(name="mw-4b", sizeConstraints_maxUpdateEntries=1024).execute(),
            "batch": service.hashLists().batchGet(names=["se-4b", "mw-4b", "gc-32b"]).execute(),
            "list": service.hashLists().list(pageSize=4).execute(),
            "urls": service.urls().search(urls=["http://evil.example/x", "http://good.example/"]).execute(),
        }
        version = answers["batch"]["hashLists"][1]["version"]
        answers["unchanged"] = service.hashLists().batchGet(names=["mw-4b"], version=[version]).execute()
        answers["next"] = service.hashLists().list(pageToken=answers["list"]["nextPageToken"]).execute()
        with pytest.raises(HttpError) as refused:
            service.hashes().search(hashPrefixes=["AAAA"]).execute()
        answers["refused"] = refused.value
    return answers


def test_all_five_methods(tmp_path):
    store = make_store(tmp_path, ["evil.example", *(f"evil{at}.example" for at in range(2000))])

    async def scene():
        async with listening(store) as (serving, _):
            return await asyncio.to_thread(drive, f"http://127.0.0.1:{serving.port}")

    answers = asyncio.run(scene())
    for name in ("search", "search url-safe"):
        [found] = answers[name]["fullHashes"]
        assert base64.b64decode(found["fullHash"]) == full_hash("evil.example/")
        assert found["fullHashDetails"][0]["threatType"] == "MALWARE"
        assert answers[name]["cacheDuration"].endswith("s")
    assert answers["get"]["additionsFourBytes"]["entriesCount"] == 1023
    assert [each["name"] for each in answers["batch"]["hashLists"]] == ["se-4b", "mw-4b", "gc-32b"]
    assert answers["unchanged"]["hashLists"][0]["partialUpdate"] is True
    assert len(answers["list"]["hashLists"]) == 4
    assert answers["next"]["hashLists"]
    assert answers["urls"]["threats"] == [{"url": "http://evil.example/x", "threatTypes": ["MALWARE"]}]
    assert answers["refused"].status_code == 400
    assert "4 bytes" in answers["refused"].reason
