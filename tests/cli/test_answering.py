"""A command run inside the service: what it prints and how it ends, or why it goes the ordinary way."""

import pytest

from secondlook.cli import answering, output
from secondlook.cli.caller import CALLER
from secondlook.ground.errors import LedgerError

ASKED = {"words": ["status"], "columns": None, "environ": {}, "called": "secondlook"}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (None, "expected an object"),
        ({}, "'words'"),
        ({**ASKED, "words": ["run"]}, "not a command that is answered here"),
        ({**ASKED, "columns": 0}, "unusable width"),
        ({**ASKED, "columns": answering.MOST_ASKED_BYTES + 1}, "unusable width"),
        ({**ASKED, "columns": "wide"}, "invalid literal"),
    ],
)
def test_a_request_that_is_none_goes_the_ordinary_way(asked, why):
    answer = answering.answer(asked, None)
    assert answer["elsewhere"].startswith("unusable request: ")
    assert why in answer["elsewhere"]


def answered(monkeypatch, command):
    class Command:
        def main(self, words, *, prog_name, standalone_mode):
            assert (words, prog_name, standalone_mode) == ([], "secondlook status", False)
            return command()

    monkeypatch.setattr(answering, "get_command", lambda app: None)
    monkeypatch.setattr(answering, "with_plain_parameters", lambda command: Command())
    return answering.answer(ASKED, None)


def test_what_is_printed_comes_in_order_with_its_stream(monkeypatch):
    def command():
        output.print_line("one")
        output.print_line("two")
        output.fail("three", status=3)

    answer = answered(monkeypatch, command)
    assert (answer["printed"][0], answer["printed"][1][0]) == (("out", "one\ntwo\n"), "err")
    assert answer["status"] == 3
    assert CALLER.get() is None


def test_what_prints_too_much_goes_the_ordinary_way(monkeypatch):
    monkeypatch.setattr(answering, "MOST_PRINTED", 3)
    assert answered(monkeypatch, lambda: output.print_line("ab"))["printed"] == [("out", "ab\n")]
    assert "elsewhere" in answered(monkeypatch, lambda: output.print_line("abc"))


def test_a_ledger_that_does_not_answer_here_is_not_asked_again_by_the_command(monkeypatch):
    def command():
        raise LedgerError("ledger postgresql://…: the database does not answer")

    assert answered(monkeypatch, command) == {
        "printed": [("err", "secondlook: ledger postgresql://…: the database does not answer\n")],
        "status": 1,
    }
