"""The service's side of the command socket, with a command runner that is handed in. Real ones: e2e/test_running_proxy.py."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from secondlook.run.assembly.answers.answering import answering
from secondlook.run.supervisor.command_socket import MOST_ASKED_BYTES, SOCKET_FILE, Conversation, program_mark


def conversing(state, answer, talk):
    """Answer commands with `answer` while `talk` runs in a thread; gives what it returns."""
    parts = SimpleNamespace(settings=SimpleNamespace(state=state), ledger=object())

    async def main():
        async with answering(parts, None, "/etc/proxy.yaml", answer):
            return await asyncio.to_thread(talk)

    return asyncio.run(main())


def test_a_command_is_run_with_what_the_service_has_open(tmp_path):
    runs = []

    def answer(asked, running):
        runs.append((asked, running))
        return {"printed": [], "status": 0}

    def talk():
        assert (tmp_path / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
        conversation = Conversation(tmp_path)
        try:
            return conversation.greeting, conversation.ask({"words": ["status"]})
        finally:
            conversation.close()

    greeting, told = conversing(tmp_path, answer, talk)
    assert greeting == {"program": program_mark(), "config": "/etc/proxy.yaml"}
    assert told == {"printed": [], "status": 0}
    ((asked, running),) = runs
    assert asked == {"words": ["status"]}
    assert running.config == Path("/etc/proxy.yaml")
    assert running.settings.state == tmp_path
    assert not (tmp_path / SOCKET_FILE).exists()


def test_what_a_dead_service_left_is_no_obstacle(tmp_path):
    (tmp_path / SOCKET_FILE).write_bytes(b"")

    def talk():
        conversation = Conversation(tmp_path)
        conversation.close()
        return conversation.greeting["config"]

    assert conversing(tmp_path, lambda *_: {}, talk) == "/etc/proxy.yaml"


def test_a_path_that_no_socket_can_have_leaves_commands_the_ordinary_way(tmp_path):
    state = tmp_path / ("long" * 30)
    state.mkdir()
    assert conversing(state, lambda *_: {}, (state / SOCKET_FILE).exists) is False


@pytest.mark.parametrize("line", [b"{\n", b"\xff\n", b"x" * (MOST_ASKED_BYTES + 1) + b"\n"])
def test_whoever_asks_no_command_is_hung_up_on_and_the_next_is_answered(tmp_path, line):
    def talk():
        odd = Conversation(tmp_path)
        odd._socket.sendall(line)
        assert odd._lines.readline() == b""
        odd.close()
        conversation = Conversation(tmp_path)
        try:
            return conversation.ask({})
        finally:
            conversation.close()

    assert conversing(tmp_path, lambda asked, _: {"asked": asked}, talk) == {"asked": {}}


def test_a_runner_that_answers_nothing_that_can_be_sent_hangs_up(tmp_path):
    def talk():
        conversation = Conversation(tmp_path)
        try:
            conversation.ask({})
        finally:
            conversation.close()

    with pytest.raises(json.JSONDecodeError):
        conversing(tmp_path, lambda *_: (_ for _ in ()).throw(ValueError("unusable")), talk)
