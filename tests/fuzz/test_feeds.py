"""Public lists, as real ones begin and as strangers may continue them."""

from hypothesis import strategies as st

from conftest import REPOSITORY
from feedkit import read_all
from fuzzkit import fuzz, mutated
from secondlook.feeds.detect import Format
from secondlook.feeds.entry import FeedRefused

FOLDER = REPOSITORY / "tests/data/feeds"
SEEDS = [path.read_bytes()[:3000] for path in sorted(FOLDER.iterdir()) if path.name != "README.md"]


@fuzz(data=mutated(SEEDS), form=st.sampled_from(["auto", *Format]), known_good=st.booleans())
def test_every_parser(data, form, known_good):
    """A feed is refused with words, or every row is an entry, an exception, or counted with its reason."""
    try:
        entries, reading = read_all(data, format=form, known_good=known_good)
    except FeedRefused as refusal:
        assert str(refusal)
        return
    tally = reading.tally
    assert len(entries) == tally.accepted.total() + tally.exceptions
    assert all(len(entry.hash) == 32 for entry in entries)


@fuzz(data=mutated(SEEDS), size=st.integers(1, 500))
def test_where_it_is_cut(data, size):
    """How a feed comes in pieces makes no difference to what is read."""

    def outcome(step: int) -> object:
        try:
            return [tuple(entry) for entry in read_all(data, size=step)[0]]
        except FeedRefused as refusal:
            return str(refusal)

    assert outcome(size) == outcome(1 << 16)
