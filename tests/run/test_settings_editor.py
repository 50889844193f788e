"""Changes of the settings file: shown, tried as at a start, written whole with mode and owner, put in force."""

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from proxykit.site import send_page, serving
from secondlook.ground.clock import SystemClock
from secondlook.review.operations.refused import Refused
from secondlook.run.reload import plan_of, settings_of
from secondlook.run.settings_editor import SettingsEditor, why_not_written
from secondlook.run.supervisor.plan import Invocation
from secondlook.run.supervisor.runfile import write_run_file
from secondlook.run.supervisor.settings_file import digest_of

SETTINGS = """\
# of this household
feeds:
  - name: urlhaus   # malware
    url: https://lists.example.org/text_online
policy: {level: medium} # for everybody
clients:
  groups:
    - name: children
      networks: [10.0.0.7/32] # the tablet
"""


class Noted:
    """Keeps what is recorded."""

    def __init__(self):
        self.events = []

    def record(self, event):
        self.events.append(event)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def noted():
    return Noted()


def editor_of(config, noted, **invocation):
    asked = Invocation(str(config), state=str(config.parent / "state"), **invocation)
    settings = settings_of(asked)
    plan = replace(plan_of(asked, settings), supervisor=os.getpid())
    return SettingsEditor(plan, settings, noted, SystemClock())


@pytest.fixture
def editor(config, noted):
    return editor_of(config, noted)


def refused(do, *arguments):
    with pytest.raises(Refused) as caught:
        do(*arguments)
    return caught.value


def lines(difference):
    return [line for line in difference.splitlines()[2:] if line[:1] in "+-"]


@pytest.mark.parametrize(
    ("what", "values", "changed"),
    [
        (
            "add-feed",
            {"name": "mine", "url": "http://127.0.0.1:9/x", "threat": "social_engineering", "every": "1h", "format": "auto"},
            ["+  - name: mine", "+    url: http://127.0.0.1:9/x", "+    threat: social_engineering"],
        ),
        ("switch-feed", {"name": "urlhaus", "enabled": "false"}, ["+    enabled: false"]),
        (
            "policy",
            {"level": "high", "block_untested": "false", "page": "flag"},
            ["-policy: {level: medium} # for everybody", "+policy: {level: high} # for everybody"],
        ),
        (
            "policy",
            {"download": "block"},
            [
                "-policy: {level: medium} # for everybody",
                "+policy: {level: medium, unverifiable: {download: block}} # for everybody",
            ],
        ),
        ("group", {"name": "children", "networks": "10.0.0.7/32", "level": "high", "page": ""}, ["+      policy:", "+        level: high"]),
        (
            "group",
            {"name": "children", "networks": "10.0.0.7/32, 10.0.0.8"},
            ["-      networks: [10.0.0.7/32] # the tablet", "+      networks: [10.0.0.7/32, 10.0.0.8] # the tablet"],
        ),
        (
            "add-group",
            {"name": "guests", "networks": "10.9.0.0/16", "users": "", "level": "", "download": "block"},
            ["+    - name: guests", "+      networks: [10.9.0.0/16]", "+      policy:", "+        unverifiable:", "+          download: block"],
        ),
    ],
)  # fmt: skip
def test_a_change_is_shown_as_its_difference_and_written_so(editor, config, hangups, what, values, changed):
    shown = editor.preview(what, values)
    assert lines(shown["difference"]) == changed
    assert config.read_text() == SETTINGS
    editor.apply(what, values, shown["digest"], "127.0.0.1")
    assert set(config.read_text().splitlines()) - set(SETTINGS.splitlines()) == {
        line[1:] for line in changed if line[0] == "+"
    }
    assert hangups == [signal.SIGHUP]
    settings_of(Invocation(str(config)))


def test_what_is_changed_is_recorded_with_who_did_it(editor, noted, hangups):
    values = {"name": "urlhaus", "enabled": "false"}
    editor.apply("switch-feed", values, editor.preview("switch-feed", values)["digest"], "10.1.2.3")
    (event,) = noted.events
    assert (event.kind, event.client) == ("action", "10.1.2.3")
    assert event.detail == "the settings were changed on the review page: switches the feed urlhaus off"


def test_mode_stays_and_nothing_is_left_beside(editor, config, hangups):
    config.chmod(0o640)
    before = config.stat()
    values = {"level": "low"}
    editor.apply("policy", values, editor.preview("policy", values)["digest"], None)
    after = config.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [path.name for path in config.parent.iterdir() if path.is_file()] == ["proxy.yaml"]


def test_a_link_stays_a_link(config, noted, hangups, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(config)
    editor = editor_of(link, noted)
    values = {"level": "low"}
    editor.apply("policy", values, editor.preview("policy", values)["digest"], None)
    assert link.is_symlink()
    assert "level: low" in config.read_text()


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(editor, config, noted, hangups):
    values = {"level": "high"}
    digest = editor.preview("policy", values)["digest"]
    config.write_text(SETTINGS + "# by hand\n")
    error = refused(editor.apply, "policy", values, digest, None)
    assert error.field == "digest"
    assert "changed meanwhile" in str(error)
    assert config.read_text() == SETTINGS + "# by hand\n"
    assert (noted.events, hangups) == ([], [])


@pytest.mark.parametrize(
    ("what", "values", "field", "words"),
    [
        ("add-feed", {"name": "", "url": "https://a.example/"}, "name", "expected a name"),
        ("add-feed", {"name": "a/b", "url": "https://a.example/"}, "name", "letters, digits"),
        ("add-feed", {"name": "urlhaus", "url": "https://a.example/"}, "name", "there already"),
        ("add-feed", {"name": "a", "url": "/etc/passwd"}, "url", "begins with http"),
        ("add-feed", {"name": "a", "url": "file:///etc/passwd"}, "url", "begins with http"),
        ("add-feed", {"name": "a", "url": "https://a.example/", "every": "soon"}, "every", "expected"),
        ("add-feed", {"name": "a", "url": "https://a.example/", "every": "10"}, "every", "a unit after"),
        ("add-feed", {"name": "a", "url": "https://a.example/", "threat": "x"}, "threat", "expected"),
        ("switch-feed", {"name": "none", "enabled": "true"}, None, "no feed"),
        ("switch-feed", {"name": "urlhaus", "enabled": "perhaps"}, None, "true or false"),
        ("switch-feed", {"name": "urlhaus", "enabled": "true"}, None, "nothing to change"),
        ("policy", {"level": "highest"}, "level", "'high', 'medium' or 'low'"),
        ("policy", {"page": "allow"}, "page", "'flag' or 'block'"),
        ("group", {"name": "nobody"}, None, "no group"),
        ("group", {"name": "children", "networks": "10.0.0.7/33"}, "networks", "expected"),
        ("add-group", {"name": "g", "networks": "", "users": ""}, "networks", "an empty group"),
        ("add-group", {"name": "g", "users": "anna"}, "users", "clients.users"),
        ("rules", {}, None, "expected one of"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(editor, config, what, values, field, words):
    error = refused(editor.preview, what, values)
    assert error.field == field
    assert words in str(error)
    assert config.read_text() == SETTINGS


@pytest.mark.parametrize(
    ("what", "values", "fields"),
    [
        (
            "add-feed",
            {"name": "", "url": "ftp://x", "threat": "x", "risk": "y", "format": "z", "every": "soon"},
            ["name", "url", "threat", "risk", "format", "every"],
        ),
        ("add-feed", {"name": "urlhaus", "url": "https://a.example/", "every": "10"}, ["name", "every"]),
        ("add-feed", {"name": "", "url": ""}, ["name", "url"]),
        ("add-feed", {"risk": "x", "url": "ftp://x"}, ["risk", "url", "name"]),
        ("policy", {"level": "highest", "mode": "x", "page": "allow"}, ["level", "mode", "page"]),
        ("add-group", {"name": "", "networks": "", "level": "x"}, ["name", "networks", "level"]),
        ("group", {"name": "children", "networks": "10.0.0.300", "level": "x"}, ["networks", "level"]),
    ],
)
def test_all_faults_of_a_form_are_said_at_once(editor, config, what, values, fields):
    error = refused(editor.preview, what, values)
    assert list(error.faults) == fields
    assert error.field == fields[0]
    assert str(error) == "; ".join(f"{field}: {error.faults[field]}" for field in fields)
    assert config.read_text() == SETTINGS
    if what == "add-feed":
        with pytest.raises(Refused) as tried:
            asyncio.run(editor.try_feed(values))
        assert list(tried.value.faults) == [
            name for name in fields if values.get(name) != "urlhaus"
        ]  # may be tried


def test_nothing_of_the_environment_comes_into_a_feed(editor, monkeypatch, config, hangups):
    monkeypatch.setenv("SECRET", "hunter2")
    values = {"name": "mine", "url": "https://a.example/${SECRET}/$SECRET/$$"}
    editor.apply("add-feed", values, editor.preview("add-feed", values)["digest"], None)
    assert settings_of(Invocation(str(config))).feeds[-1].url == values["url"]


def test_a_fault_of_the_file_itself_is_named_with_its_place(editor, config):
    config.write_text("policy: {level: medium}\nnonsense: 1\n")
    error = refused(editor.preview, "policy", {"level": "high"})
    assert f"{config}:2: nonsense: unknown key" in str(error)
    assert "nonsense" in str(refused(editor.facts))


def test_it_can_be_switched_off(config, noted):
    config.write_text("review: {settings: false}\n")
    editor = editor_of(config, noted)
    assert editor.facts()["off"]
    digest = digest_of(str(config))
    for call in (
        ("preview", "policy", {"level": "high"}),
        ("apply", "policy", {"level": "high"}, digest, None),
    ):
        assert "switched off" in str(refused(getattr(editor, call[0]), *call[1:]))
    assert config.read_text() == "review: {settings: false}\n"


def test_without_a_file_there_is_nothing_to_change(noted, tmp_path):
    asked = Invocation(None, state=str(tmp_path / "state"))
    settings = settings_of(asked)
    editor = SettingsEditor(plan_of(asked, settings), settings, noted, SystemClock())
    assert "-c proxy.yaml" in str(refused(editor.facts))


def test_a_file_that_is_read_only_is_left_and_the_difference_shown(editor, config):
    config.chmod(0o444)
    shown = editor.preview("policy", {"level": "high"})
    assert shown["not_written"] == f"{config} is read-only."
    assert lines(shown["difference"])[1] == "+policy: {level: high} # for everybody"
    error = refused(editor.apply, "policy", {"level": "high"}, shown["digest"], None)
    assert "secondlook reload" in str(error)
    assert config.read_text() == SETTINGS


def test_a_file_of_somebody_else_is_named_so(config):
    owner = config.stat().st_uid
    assert why_not_written(config, owner) is None
    assert "belongs to" in why_not_written(config, owner + 4321)
    assert why_not_written(config, 0) is None
    assert "cannot be found" in why_not_written(config.with_name("none.yaml"), owner)


def run_facts(**settings):
    facts = {"file": "f" * 64, "readings": 3, "reading": False, "refused": None, "in_force": True}
    return {"pid": os.getpid(), "workers": [1, 2], "settings": {**facts, **settings}}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "in_force"),
        ({"readings": 2}, "reading"),
        ({"reading": True}, "reading"),
        ({"in_force": False}, "reading"),
        ({"file": "e" * 64}, "reading"),
        ({"refused": "no", "file": "e" * 64}, "refused"),
    ],
)
def test_the_outcome_is_known_once_every_worker_has_it(editor, config, monkeypatch, said, state):
    folder = config.parent / "state"
    folder.mkdir()
    monkeypatch.setattr("secondlook.run.supervisor.runfile._alive", lambda _pid, _process: True)
    assert editor.outcome(2, "f" * 64)["state"] == "reading"  # no run.json yet
    write_run_file(folder, run_facts(**said))
    assert editor.outcome(2, "f" * 64)["state"] == state


@pytest.fixture
def site():
    """Serve a small feed with two rejects, and a page that is none."""

    def answer(request):
        body = b"<!doctype html><html></html>"
        if request.path == "/list":
            body = b"# list\nbad.example\nworse.example\ncom\n/regular.*/\n"
        send_page(request, body, 404 if request.path == "/none" else 200)

    with serving(answer) as site:
        yield site.removesuffix("/")


def test_a_feed_is_tried_without_keeping_anything(editor, config, site):
    tried = asyncio.run(editor.try_feed({"name": "urlhaus", "url": f"{site}/list"}))
    assert (tried["distinct"], tried["lists"], tried["refused"]) == (2, {"mw-8b": 2}, None)
    assert sum(tried["rejected"].values()) == 2
    assert [line for line, _, _ in tried["rejects"]] == [4, 5]
    assert config.read_text() == SETTINGS
    assert not (config.parent / "state").exists()


def test_a_feed_that_is_none_is_refused_as_it_would_be(editor, site):
    tried = asyncio.run(editor.try_feed({"name": "page", "url": f"{site}/page"}))
    assert "HTML" in tried["refused"]


@pytest.mark.parametrize(("path", "words"), [("/none", "status 404"), (":x", "url")])
def test_a_feed_that_does_not_come_is_said_beside_its_address(editor, site, path, words):
    with pytest.raises(Refused) as caught:
        asyncio.run(editor.try_feed({"name": "mine", "url": f"{site}{path}"}))
    assert caught.value.field == "url"
    if words == "status 404":
        assert words in str(caught.value)
