"""A browser's profile goes whichever way it ends; `sleep` stands for the browser, whose end is the same to us. 2 s."""

import os
import signal
import subprocess
import sys
import tempfile

import psutil
import pytest

from e2e.processes import wait_for
from secondlook.setup import profile

# The tender outlives the command that started it, and so the object by which it was started.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored (in|while calling).*Popen:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start(*words):
    folder = profile.start(lambda _: words or ("sleep", "60"))

    def tender_and_browser():
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [])[1:4] == ["-m", profile.__name__, str(folder)]:
                children = process.children()
                if [child.name() for child in children] == ["sleep"]:
                    return process, children[0]
        return None

    return folder, *wait_for(tender_and_browser, "the browser's start")


def gone(folder):
    wait_for(lambda: not folder.exists(), "the profile's end")


def test_a_browser_that_ends_at_once_is_noticed():
    assert not profile.lasts(profile.start(lambda _: ("false",)), 60)
    folder, tender, _ = start()
    assert profile.lasts(folder, 0.1)
    tender.send_signal(signal.SIGTERM)
    gone(folder)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_ends_the_tender_ends_the_browser(ending):
    folder, tender, browser = start()
    (folder / "Default").mkdir()
    tender.send_signal(ending)
    gone(folder)
    assert not browser.is_running()


def test_a_browser_that_does_not_end_is_made_to():
    folder, tender, browser = start(sys.executable, "-c", IMMOVABLE)
    tender.send_signal(signal.SIGTERM)
    tender.send_signal(signal.SIGHUP)
    gone(folder)
    assert not browser.is_running()


IMMOVABLE = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.execvp("sleep", ["sleep", "60"])
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_browser_is_the_profiles(ending):
    folder, _, browser = start()
    browser.send_signal(ending)
    gone(folder)


def test_after_a_killed_tender_it_stays_while_the_browser_runs_and_is_swept_then():
    folder, tender, browser = start()
    tender.kill()
    wait_for(lambda: not tender.is_running() or tender.status() == psutil.STATUS_ZOMBIE, "the tender's end")
    assert profile.sweep() == ([], [folder])
    browser.kill()
    assert wait_for(lambda: profile.sweep()[0] or None, "the browser's end") == [folder]
    assert not folder.exists()


def test_only_stale_folders_of_this_user_are_swept(temporary):
    stale, link, file = (temporary / f"{profile.PREFIX}{name}" for name in ("stale", "link", "file"))
    elsewhere = temporary / "elsewhere"
    for folder in (stale, elsewhere):
        folder.mkdir()
        (folder / "Default").mkdir()
    link.symlink_to(elsewhere)
    file.touch()
    if os.geteuid() == 0:
        foreign = temporary / f"{profile.PREFIX}foreign"
        foreign.mkdir()
        os.chown(foreign, 65534, 65534)
    assert profile.sweep() == ([stale], [])
    assert (elsewhere / "Default").exists()
    assert file.exists()
    assert os.geteuid() or foreign.exists()


def test_what_cannot_be_prepared_leaves_nothing(temporary):
    def fail(folder):
        raise ValueError(folder)

    with pytest.raises(ValueError, match=profile.PREFIX):
        profile.start(fail)
    assert list(temporary.iterdir()) == []
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def test_a_command_ended_while_it_prepares_leaves_the_profile_to_the_tender(temporary):
    """SIGTERM comes when the folder is there and no tender yet: it is held back until one is."""
    code = (
        "import os, signal\nfrom secondlook.setup import profile\n"
        "profile.start(lambda _: os.kill(os.getpid(), signal.SIGTERM) or ('true',))\nprint('not ended')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, check=False
    )  # fmt: skip
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == b""
    wait_for(lambda: not list(temporary.iterdir()), "the profile's end")
