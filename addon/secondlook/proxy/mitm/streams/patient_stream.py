"""A stream that keeps its client waiting while a body is held (`trickle.py` says how much of it may go)."""

from mitmproxy.proxy import commands, events

from secondlook.download.gate.trickle import EVERY_S
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.body_hooks import SecondlookBodyHook, SecondlookTrickleHook
from secondlook.proxy.mitm.streams.response_stream import ResponseStream


class PatientStream(ResponseStream):
    """A stream whose body is held: it keeps its client waiting with a few bytes."""

    _tick: commands.RequestWakeup | None = None  # when it is looked again
    _sent_before = 0  # as it was looked last

    def _held(self) -> bool:
        """Return whether a body is under way."""
        raise NotImplementedError

    def watch_patience(self) -> Commands:
        """Look now and then whether anything goes on of a body of which more is to come."""
        patience_s = self.addon.bodies.patience_s
        if self._tick is None and patience_s:
            yield from self._look_again(patience_s)

    def _look_again(self, after_s: float) -> Commands:
        self._tick, self._sent_before = commands.RequestWakeup(after_s), self._sent
        yield self._tick

    def _wake(self, event: events.Wakeup) -> Commands:
        if event.command is not self._tick:
            yield from super()._wake(event)
            return
        self._tick = None
        if not self._held():
            return
        patience_s = self.addon.bodies.patience_s
        if self._sent > self._sent_before and event.command.delay >= patience_s:
            yield from self._look_again(patience_s)
            return
        yield from self._trickle()
        if self._held():
            yield from self._look_again(min(EVERY_S, patience_s))

    def _trickle(self) -> Commands:
        body = self.body
        assert body is not None
        if body.gate.spare:
            yield SecondlookTrickleHook(self.flow)
            piece, body.pumped = body.pumped, b""
            if piece:
                if body.gate.trickles.window is not None and not self._headers_out:
                    self._slice_early(body)
                yield from self._send(piece)

    def _judged(self) -> Commands:
        """Wait for the verdict, however long it takes."""
        assert self.body is not None
        yield SecondlookBodyHook(self.flow)
        while self.body.judging is not None:
            yield from self._trickle()
            yield SecondlookBodyHook(self.flow)
