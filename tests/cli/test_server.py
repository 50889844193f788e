"""Commands of a Smart Protection Server."""

import asyncio
from dataclasses import replace

import pytest

from cli.calling import on
from e2e.processes import command, json_lines, server_publish
from secondlook.run.supervisor.runfile import StateLock
from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.publishing import publish
from secondlook.server.publish.signing import publisher_key
from secondlook.server.store.feeds_off import Off, write_off
from secondlook.server.store.store import ServerStore
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.wire.signature import public_text
from serverkit import NOW, make_store, out, put
from serverkit.valkey import single


def test_a_server_shows_its_key_before_it_has_published_anything(state):
    assert "key: made with the first publication" in on(state, "server", "status").stdout
    key = public_text(publisher_key(state).public_key())
    assert f"key {key}: agents and replicas" in on(state, "server", "status").stdout
    (status,) = json_lines("server", "status", "--state", state)
    assert (status["generation"], status["key"]) == (None, key)


def test_server_commands(tmp_path):
    state, listed = tmp_path / "server", tmp_path / "list.txt"
    listed.write_text("one.example\ntwo.example\nnot a line\n")
    (report,) = json_lines("server", "import", listed, "--state", state, "--list", "mw-8b")
    assert (report["accepted"], sum(report["rejected"].values())) == (2, 1)
    assert server_publish(state)["generation"] == 1
    assert command("server", "check", "http://one.example/x", "--state", state, check=False).returncode == 10
    assert command("server", "check", "http://three.example/", "--state", state).returncode == 0
    command("server", "add", "three.example", "--state", state)
    command("server", "except", "two.example", "--state", state)
    server_publish(state)
    assert command("server", "check", "three.example", "--state", state, check=False).returncode == 10
    assert command("server", "check", "two.example", "--state", state).returncode == 0
    entries = {each["entry"] for each in json_lines("server", "list", "--state", state)}
    assert {"one.example/", "three.example/"} <= entries
    command("server", "rollback", "--state", state)
    assert command("server", "check", "three.example", "--state", state).returncode == 0
    command("server", "remove", "list.txt", "--state", state)
    assert command("server", "remove", "list.txt", "--state", state, check=False).returncode == 1
    (status,) = json_lines("server", "status", "--state", state)
    assert (status["generation"], status["held_back"], status["valkey"]) == (1, 0, None)


def test_a_replica_that_had_feeds_of_its_own_is_not_warned_of_them(tmp_path):
    store = make_store(tmp_path)
    put(store, ["evil.example"], name="urlhaus")
    [source] = store.sources()
    store.change_source(replace(source, kind="feed"))
    out(store)
    config = tmp_path / "server.yaml"

    def alerts(settings):
        config.write_text(settings)
        (status,) = json_lines("server", "status", "--state", store.root, "-c", config)
        return status["alerts"]

    assert alerts("feeds: []\n")[0].startswith("the settings name no feeds")
    assert alerts("upstream: {url: 'https://one.example/'}\n") == []


def test_what_a_feed_brought_that_is_off_is_shown_as_kept(tmp_path):
    store = make_store(tmp_path)
    put(store, ["evil.example"], name="urlhaus")
    [source] = store.sources()
    store.change_source(replace(source, kind="feed"))
    write_state(store.root / "feeds", "urlhaus", FeedState(good_at=NOW, entries=1, error="no connection"))
    out(store)
    write_off(store.root, {"urlhaus": Off(NOW)})
    (status,) = json_lines("server", "status", "--state", store.root)
    assert "in force until the next publication" in status["feeds"][0]["off"]
    out(store)
    (status,) = json_lines("server", "status", "--state", store.root)
    assert (status["feeds"][0]["error"], status["alerts"]) == (
        None,
        ["no list protects any more: urlhaus is switched off, and nothing else is in force"],
    )
    shown = command("server", "status", "--state", store.root).stdout
    assert "feed urlhaus: 1 entry, last good" in shown
    assert "switched off since 2026-09-21; what it brought is kept, and not in force" in shown
    assert "attention: no list protects any more" in shown
    assert json_lines("server", "list", "--state", store.root)[0]["off"] is True
    assert "urlhaus (off)" in command("server", "list", "--state", store.root).stdout
    assert "feed (off)" in command("server", "list", "--sources", "--state", store.root).stdout
    gone = command("server", "remove", "evil.example", "--state", store.root, check=False)
    assert "which would bring it again" not in gone.stderr


def test_the_operators_own_hosts_are_held_back(tmp_path):
    store = make_store(tmp_path, ["feeds.example", "evil.example"])
    config = tmp_path / "server.yaml"
    config.write_text("feeds: [{name: a, url: 'https://feeds.example/list'}]\n")
    (published,) = json_lines("server", "publish", "--state", store.root, "-c", config)
    assert list(published["held_back_examples"]) == [["list.txt", "feeds.example/"]]


def test_what_does_not_fit_the_named_list_is_told(tmp_path):
    state, listed = tmp_path / "server", tmp_path / "hosts.txt"
    listed.write_text("".join(f"{name}.example\n" for name in "abcd") + "ab" * 32 + "\n")
    (report,) = json_lines("server", "import", listed, "--state", state, "--list", "x-file-mw-8b")
    assert (report["lists"], report["elsewhere"]) == ({"mw-8b": 4, "x-file-mw-8b": 1}, {"mw-8b": 4})
    said = command("server", "import", listed, "--state", state, "--list", "x-file-mw-8b").stdout
    assert "4 in mw-8b, not in x-file-mw-8b: hosts or URLs" in said
    (report,) = json_lines("server", "import", listed, "--state", state)
    assert report["elsewhere"] == {}


def test_a_valkey_store_that_lost_its_data_is_told(tmp_path):
    with single(tmp_path / "valkey") as (url, [node]):
        config = tmp_path / "server.yaml"
        config.write_text(f"state: {tmp_path / 'server'}\nstore: {url}\n")

        def told():
            (status,) = json_lines("server", "status", "--config", config)
            return status["valkey"]

        assert told() == {
            "holds": False,
            "trouble": "the Valkey store holds no generation; a running publisher loads what it has",
        }
        store = ServerStore(tmp_path / "server")
        publish(store, now=0.0)

        async def push():
            publisher = ValkeyPublisher(url)
            await publisher.push(Generation(store.generation_folder(1)), now=0.0)
            await publisher.aclose()

        asyncio.run(push())
        assert told() == {"holds": True, "trouble": None}
        node.cli("flushall")
        assert "does not hold generation 000001" in command("server", "status", "--config", config).stdout
        node.kill()
        gone = told()
        assert not gone["holds"]
        assert gone["trouble"].startswith("cannot read from the Valkey store: ")


def test_own_entries_beat_what_was_imported(tmp_path):
    state, listed = tmp_path / "server", tmp_path / "list.txt"
    listed.write_text("one.example\nhttp://two.example/bad/a.exe\nhttp://two.example/good/\n")
    json_lines("server", "import", listed, "--state", state, "--list", "mw-8b")
    digest = "ab" * 32
    (added,) = json_lines("server", "add", digest, "--list", "x-file-mw-8b", "--for", "1d", "--state", state)
    (path,) = json_lines("server", "except", "http://two.example/bad/", "--reason", "ours", "--state", state)
    assert (added["list"], path["scope"], path["reason"]) == ("x-file-mw-8b", "prefix", "ours")
    rows = {each["id"]: each for each in json_lines("server", "list", "--own", "--state", state)}
    assert set(rows) == {added["id"], path["id"]}
    assert rows[added["id"]]["expires"] > rows[added["id"]]["added"]
    assert all(each["who"] for each in rows.values())
    command("server", "remove", "one.example", "--state", state)
    server_publish(state)
    for subject, status in (
        (digest, 10), ("http://two.example/bad/a.exe", 0), ("http://two.example/good/", 10), ("one.example", 0)
    ):  # fmt: skip
        done = command("server", "check", subject, "--state", state, check=False)
        assert done.returncode == status, done.stdout
    command("server", "remove", path["id"], added["id"], "--state", state)
    server_publish(state)
    assert (
        command("server", "check", "http://two.example/bad/a.exe", "--state", state, check=False).returncode
        == 10
    )
    assert command("server", "check", digest, "--state", state).returncode == 0
    done = command("server", "remove", path["id"], "--state", state, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_import_of_what_is_not_there(tmp_path):
    done = command("server", "import", tmp_path / "none.txt", "--state", tmp_path / "s", check=False)
    assert done.returncode == 1
    assert "not a file" in done.stderr


def test_a_server_takes_back_and_goes_back_as_json(tmp_path):
    state = tmp_path / "server"
    for host in ("one.example", "two.example"):
        command("server", "add", host, "--state", state)
        server_publish(state)
    assert json_lines("server", "rollback", "--state", state) == [{"generation": 1, "held": True}]
    (removed,) = json_lines("server", "remove", "two.example", "--state", state)
    assert removed == {"subject": "two.example", "removed": "one own entry"}


def test_an_import_while_a_proxy_makes_its_folder_goes_to_its_embedded_server(state, tmp_path):
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("0.0.0.0 bad.example\n")
    state.mkdir()
    lock = StateLock(state)  # the first that a starting proxy leaves
    on(state, "server", "import", hosts)
    lock.release()
    assert sorted(each.name for each in state.iterdir()) == ["lock", "server"]
    assert [each.name for each in (state / "server" / "sources").iterdir()] == ["0001-hosts.txt"]


def test_without_a_configuration_here_it_is_the_server_of_the_proxy_that_commands_mean(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    command("allow", "good.example", cwd=here)
    command("server", "add", "evil.example", cwd=here)
    assert not list(here.iterdir())
    assert (tmp_path / "home" / "secondlook" / "server" / "own.json").exists()


@pytest.mark.parametrize(
    "beside",
    [
        "a server of its own here",
        "a server of its own here, odd settings there",
        "a state that cannot be read",
    ],
)
def test_a_proxy_elsewhere_neither_takes_the_place_of_a_server_here_nor_stops_it(
    tmp_path, monkeypatch, beside
):
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    (home / "secondlook" / "ca").mkdir(parents=True)  # a proxy's state
    if beside != "a state that cannot be read":
        (here / "server-state").mkdir()
    if beside == "a server of its own here, odd settings there":
        (home / "secondlook" / "proxy.yaml").write_text("state: [\n")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home))
    if beside == "a state that cannot be read":
        monkeypatch.setenv("XDG_STATE_HOME", str(home / ("x" * 300)))  # which stops root too
    command("server", "add", "evil.example", cwd=here)
    assert (here / "server-state" / "own.json").exists()
    assert not (home / "secondlook" / "server").exists()


def test_odd_settings_of_the_proxy_elsewhere_make_no_other_server_here(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "secondlook").mkdir(parents=True)
    (home / "secondlook" / "proxy.yaml").write_text("state: [\n")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home))
    here = tmp_path / "here"
    here.mkdir()
    refused = command("server", "add", "evil.example", check=False, cwd=here)
    assert (refused.returncode, "proxy.yaml" in refused.stderr) == (2, True)
    assert not list(here.iterdir())


def test_a_proxy_that_is_set_up_here_comes_before_a_server_here(tmp_path):
    (tmp_path / "proxy.yaml").write_text("state: proxy-state\n")
    (tmp_path / "server-state").mkdir()
    command("server", "add", "evil.example", cwd=tmp_path)
    assert (tmp_path / "proxy-state" / "server" / "own.json").exists()


@pytest.mark.parametrize("more", ["", "review: false\n"])
def test_the_configuration_of_a_proxy_means_its_embedded_server(tmp_path, more):
    config = tmp_path / "proxy.yaml"
    config.write_text(f"state: proxy-state\n{more}")
    command("server", "add", "evil.example", "-c", config)
    assert [str(each.relative_to(tmp_path)) for each in tmp_path.rglob("own.json")] == [
        "proxy-state/server/own.json"
    ]
    command("server", "add", "other.example", "-c", config, "--state", tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "server" / "own.json").exists()
    command("server", "add", "third.example", "-c", config, "--state", tmp_path / "elsewhere" / "server")
    assert len(list(tmp_path.rglob("own.json"))) == 2, "a server's folder has no server below it"


def test_nobody_serves_by_the_configuration_of_a_proxy(tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("review: false\n")
    refused = command("server", "run", "-c", config, check=False)
    assert (refused.returncode, "proxy.yaml:1: review: unknown key" in refused.stderr) == (2, True)
