"""The feeds as the page of lists shows them: on, failing, off, no longer in the settings."""

from secondlook.config.service import FeedSettings
from secondlook.run.assembly.answers.feeds_shown import failing_text, feeds_shown
from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.store.feeds_off import Off, write_off
from serverkit import NOW, make_store

FEEDS = (
    FeedSettings(name="good", url="https://feeds.example/a", licence="CC0-1.0"),
    FeedSettings(name="failing", url="https://feeds.example/b"),
    FeedSettings(name="new", url="https://feeds.example/c"),
    FeedSettings(name="off", url="https://feeds.example/d", licence="MIT", enabled=False),
    FeedSettings(name="never-came", url="https://feeds.example/e", enabled=False),
    FeedSettings(name="secondlook-test", builtin="test"),
)


def test_feeds_that_are_off_come_after_those_that_are_on(tmp_path):
    store = make_store(tmp_path)
    for name, error in (
        ("good", None),
        ("failing", "no connection"),
        ("off", "no connection"),
        ("left", None),
    ):
        write_state(store.root / "feeds", name, FeedState(good_at=NOW, entries=7, error=error))
    write_off(store.root, {"off": Off(NOW), "left": Off(NOW, NOW), "never-came": Off(NOW)})
    shown = feeds_shown(store, FEEDS)
    assert [(each["name"], each["licence"], each["count"], each["off"], each["state"]) for each in shown] == [
        ("good", "CC0-1.0", 7, False, "fresh"),
        ("failing", None, 7, False, "no connection"),
        ("new", None, 0, False, "not fetched yet"),
        (
            "left",
            None,
            7,
            True,
            "no longer in the settings; what it brought is not in force, and kept until 2026-10-21",
        ),
        ("off", "MIT", 7, True, "switched off since 2026-09-21; what it brought is kept, and not in force"),
    ]


def test_a_feed_that_never_came_has_nothing_in_force():
    def shown(**states):
        return [
            {"name": name, "fetched_at": at, "state": state, "off": off}
            for name, (at, state, off) in states.items()
        ]

    well = shown(
        good=(NOW, "fresh", False), back=(NOW, "rolled back", False), new=(None, "not fetched yet", False)
    )
    assert not failing_text([*well, *shown(off=(NOW, "switched off since 2026-09-21", True))])
    failing = shown(
        old=(NOW, "no connection", False), never=(None, "status 404", False), none=(None, "empty", False)
    )
    assert failing_text([*well, *failing]) == (
        "What came last from old stays in force. Nothing ever came from never, none."
    )
    assert failing_text(failing[1:2]) == "Nothing ever came from never."
