"""A stream that hands on a piece of a judged file, as far as it is what was judged."""

from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseEndOfMessage

from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.body_hooks import SecondlookForgetHook
from secondlook.proxy.mitm.streams.patient_stream import PatientStream


class ProvedStream(PatientStream):
    """A response that is a piece of a judged file; its headers go with the first block that fits."""

    _ahead_bytes = 0  # so many of what is wanted went on before it was proved

    def _state_proved(self, event: events.Event) -> Commands:
        proof = self._flow_state.proof
        assert proof is not None
        if isinstance(event, ResponseData):
            data = proof.feed(event.data)
            if data is None:
                yield from self._not_as_judged()
            else:
                went, self._ahead_bytes = self._ahead_bytes, max(0, self._ahead_bytes - len(data))
                if went < len(data):
                    yield from self._send(data[went:])
        elif isinstance(event, ResponseEndOfMessage):
            if proof.whole:
                yield from self.send_response(already_streamed=True)
            else:
                yield from self._not_as_judged()

    def _not_as_judged(self) -> Commands:
        """Ask for the whole where nothing went on yet, else cut: the URL gives another file now, or lies."""
        self._flow_state.proof, self._flow_state.unproved = None, True
        yield SecondlookForgetHook(self.flow)
        if self._headers_out:
            yield from self._stop_origin()
            yield from self._cut("the piece is not of the file that was judged")
        elif self._can_ask_again():
            yield from self._ask_again()
        else:
            yield from self._refuse_at_headers(None)
