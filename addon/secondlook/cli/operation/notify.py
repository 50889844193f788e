"""`secondlook notify`: trying the notices."""

import typer

from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.output import fail
from secondlook.ground.first_steps import FirstSteps, Step

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Try the notices.")


@app.callback()
def _group() -> None:
    pass


@app.command()
@with_context
def test(context: CommandContext) -> None:
    """Send a test notice to everybody that `notify` names, and report whether it went out."""
    from secondlook.agent.actions.notice import AppriseSender

    notify = context.settings.notify
    if not (notify.urls or notify.desktop):
        fail("no notices are set up yet", hint="set notify.urls or notify.desktop in the configuration")
    sender = AppriseSender(notify.urls, desktop=notify.desktop, proxy=context.settings.upstream_proxy)
    if not sender.send("Second Look: a test", "This is how a notice looks. Nothing has happened."):
        fail(
            "the test notice could not be delivered to everybody",
            hint="check notify.urls, and that this session has a desktop where notify.desktop is on",
        )
    FirstSteps(context.state).mark(Step.NOTICE)
    sent = {"sent": True, "urls": len(notify.urls), "desktop": notify.desktop}
    context.report(sent, "the test notice went out")
