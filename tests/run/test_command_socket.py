"""The socket where a command asks the running proxy: the mark of its sources, what is believed of the other end."""

import socket
import threading
from contextlib import contextmanager

import pytest

from secondlook.run.supervisor import command_socket
from secondlook.run.supervisor.command_socket import MOST_ASKED_BYTES, SOCKET_FILE, Conversation, program_mark


@pytest.fixture
def package(tmp_path, monkeypatch):
    package = tmp_path / "secondlook"
    (package / "room").mkdir(parents=True)
    (package / "main.py").write_text("one\n")
    (package / "room" / "part.py").write_text("two\n")
    monkeypatch.setattr(command_socket, "_PACKAGE", package)
    return package


def test_the_mark_changes_with_any_source(package):
    mark = program_mark()
    assert program_mark() == mark
    (package / "room" / "part.py").write_text("three\n")
    changed = program_mark()
    assert changed != mark
    (package / "room" / "new.py").touch()
    assert program_mark() != changed


def test_the_mark_is_that_of_the_sources_alone(package):
    mark = program_mark()
    (package / "room" / "page.html").write_text("not imported\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "left.py").write_text("compiled\n")
    assert program_mark() == mark


def test_a_copy_elsewhere_has_another_mark(package, monkeypatch):
    mark = program_mark()
    moved = package.with_name("moved")
    package.rename(moved)
    monkeypatch.setattr(command_socket, "_PACKAGE", moved)
    assert program_mark() != mark


def test_the_mark_is_the_same_in_another_process_whatever_its_hashes(package, monkeypatch):
    assert hash((1, 2, 3)) == hash((1, 2, 3))  # of integers: not salted
    assert program_mark().rpartition(":")[0] == str(package)


@contextmanager
def heard(folder, *lines):
    """A service that sends these lines, one after each thing it is asked; gives what it was asked."""
    asked = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / SOCKET_FILE))
        listening.listen()

        def serve():
            try:
                sock, _ = listening.accept()
            except OSError:  # nobody came
                return
            with sock, sock.makefile("rwb") as file:
                for line in lines:
                    file.write(line)
                    file.flush()
                    asked.append(file.readline())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_conversation(tmp_path):
    with heard(tmp_path, b'{"program": "p"}\n', b'{"status": 0}\n') as asked:
        conversation = Conversation(tmp_path)
        assert conversation.greeting == {"program": "p"}
        assert conversation.ask({"words": ["status"]}) == {"status": 0}
        conversation.close()
    assert asked == [b'{"words": ["status"]}\n', b""]


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"7\n", b"{\n", b"\xff\n"])
def test_what_greets_otherwise_is_no_service(tmp_path, line):
    with heard(tmp_path, line) as asked, pytest.raises(ValueError, match=r"."):
        Conversation(tmp_path)
    assert asked == [b""]


def test_a_request_is_bounded(tmp_path):
    with heard(tmp_path, b"{}\n", b"{}\n") as asked:
        conversation = Conversation(tmp_path)
        room = MOST_ASKED_BYTES - len('{"w": ""}\n')
        with pytest.raises(ValueError, match="too long"):
            conversation.ask({"w": "x" * (room + 1)})
        assert conversation.ask({"w": "x" * room}) == {}
        conversation.close()
    assert len(asked[0]) == MOST_ASKED_BYTES


def test_nobody_there(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Conversation(tmp_path)
