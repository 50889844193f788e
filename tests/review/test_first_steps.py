"""The first steps on the set-up page."""

from review.stage import keep, make_event
from secondlook.ground.first_steps import Step


def test_the_first_steps_tick_themselves_off(client, ledger, program):
    def taken():
        return {step["name"] for step in client.get("/api/v1/setup").json()["steps"] if step["taken"]}

    assert taken() == set()
    shown = client.get("/setup").text
    assert "First steps: 0 of 4 done" in shown
    assert "data-refresh-often" in shown
    keep(ledger, make_event())
    assert taken() == {"request", "block"}
    program.first_steps.mark(Step.TRUST)
    program.first_steps.mark(Step.NOTICE)
    shown = client.get("/setup").text
    assert "First steps: 4 of 4 done" in shown
    assert "data-refresh-often" not in shown
    program.proxy = ""
    assert taken() == {"request", "block", "notice"}, "a gateway has a certificate authority of its own"
