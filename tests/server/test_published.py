"""What of a store is handed out to replicas, and under which name."""

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from secondlook.server.http.published import published_file
from serverkit import make_store

FILE = "generations/000001/manifest.json"


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, ["evil.example"])


def get(store, path):
    async def answer(request):
        return await published_file(store, request)

    return TestClient(Starlette(routes=[Route("/{path:path}", answer)])).get(f"/{path}")


def test_a_file_of_a_generation_may_be_kept_for_good_and_the_number_of_the_current_one_may_not(store):
    lasting, current = get(store, FILE), get(store, "current")
    assert lasting.content == (store.root / FILE).read_bytes()
    assert lasting.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert current.content == (store.root / "current").read_bytes()
    assert current.headers["cache-control"] == "no-cache"
    assert {each.headers["content-type"] for each in (lasting, current)} == {"application/octet-stream"}


def test_every_file_of_the_current_generation_is_there(store):
    for file in store.generation_folder(1).iterdir():
        assert get(store, f"generations/000001/{file.name}").content == file.read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "own.json",
        "currently",
        "generations",
        "generations/000001",
        "generations/000001/",
        "generations/00001/manifest.json",
        "generations/000001/.hidden",
        "generations/000001/sub/manifest.json",
        "generations/000001/%2e%2e/%2e%2e/own.json",
        "generations/000001/..%2f..%2fown.json",
        "old/generations/000001/manifest.json",
        "generations/000002/manifest.json",
    ],
)
def test_nothing_else_is(store, path):
    (store.root / "own.json").write_text("secret")
    (store.root / "currently").write_text("secret")
    (store.generation_folder(1) / ".hidden").write_text("secret")
    (store.generation_folder(1) / "sub").mkdir()
    (store.generation_folder(1) / "sub" / "manifest.json").write_text("secret")
    (store.generations_folder / "00001").mkdir()
    (store.generations_folder / "00001" / "manifest.json").write_text("secret")
    answer = get(store, path)
    assert (answer.status_code, answer.text) == (404, "no such file\n")


def test_a_server_without_a_folder_has_none_to_hand_out():
    assert get(None, "current").status_code == 404
