"""A dataclass whose methods are written late is what the standard library's is, in everything but the time."""

import ast
import copy
import dataclasses
import inspect
import pickle
from pathlib import Path

import pytest

import secondlook
from secondlook.ground.lazily import dataclass

METHODS = ("__init__", "__repr__", "__eq__", "__hash__")
EVERY_KIND = [
    {},
    {"slots": True},
    {"slots": True, "eq": False},
    {"slots": True, "kw_only": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"frozen": True},
    {"frozen": True, "slots": True, "eq": False},
]


@dataclass(frozen=True, slots=True)
class Sent:
    word: str
    count: int = 3


def pair(**options):
    """Make one class twice: by the standard library, and late."""

    def made(decorator):
        @decorator(**options)
        class Same:
            word: str
            words: list = dataclasses.field(default_factory=list, repr=False, hash=False)
            count: int = 3
            kind: str = dataclasses.field(default="a", kw_only=True)
            known: int = dataclasses.field(default=0, compare=False, init=False)

            def __post_init__(self):
                object.__setattr__(self, "known", self.count + 1)

        return Same

    return made(dataclasses.dataclass), made(dataclass)


def outcome(of):
    try:
        return of()
    except (AttributeError, TypeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("options", EVERY_KIND, ids=str)
def test_objects_are_what_they_are_otherwise(options):
    seen = []
    for cls in pair(**options):
        one, same, other = cls(word="a", kind="b"), cls(word="a", kind="b"), cls(word="a", count=4)
        seen.append(
            [
                repr(one),
                one == same,
                one == other,
                one == object(),
                outcome(lambda one=one: hash(one)) if options.get("eq", True) else hash(one) != hash(same),
                dataclasses.asdict(one),
                repr(dataclasses.replace(one, count=9, words=["x"])),
                copy.copy(one) == one,
                copy.deepcopy(other).known,
                outcome(lambda cls=cls: cls(kind="a")),
                outcome(lambda cls=cls: cls("a", [], 3, "b", 5, 6)),
                outcome(lambda one=one: setattr(one, "word", "c")),
                outcome(lambda one=one: delattr(one, "word")),
                outcome(lambda one=one: setattr(one, "strange", "c"))
                if not options.get("frozen")
                else type(outcome(lambda one=one: setattr(one, "strange", "c"))),
                outcome(lambda one=one: (one.word, one.words, one.count, one.kind, one.known)),
                cls.__match_args__,
                inspect.signature(cls.__init__),
                cls.__init__.__qualname__,
            ]
        )
    assert seen[0] == seen[1]


def test_a_method_is_written_when_it_is_called_and_not_before(monkeypatch):
    written = []
    make = dataclasses.make_dataclass
    monkeypatch.setattr(
        dataclasses, "make_dataclass", lambda *args, **named: written.append(named) or make(*args, **named)
    )
    _, cls = pair(frozen=True, slots=True)
    assert written == []
    one, two = cls("a"), cls("b")
    assert len(written) == 1
    assert one != two
    assert one == one  # noqa: PLR0124
    assert len(written) == 2
    assert repr(one) != repr(two)
    assert hash(one) != hash(two)
    assert len(written) == 4


def test_methods_of_a_class_itself_stay():
    @dataclass(frozen=True, slots=True)
    class Own:
        word: str

        def __repr__(self):
            return "own"

        def __eq__(self, other):
            return True

        def __hash__(self):
            return 7

    assert (repr(Own("a")), Own("a") == Own("b"), hash(Own("a"))) == ("own", True, 7)


def test_one_that_says_what_is_equal_alone_has_the_hash_of_its_fields():
    def made(decorator):
        @decorator(frozen=True)
        class Own:  # noqa: PLW1641 - its hash is what this is about
            word: str

            def __eq__(self, other):
                return True

        return Own

    assert hash(made(dataclass)("a")) == hash(made(dataclasses.dataclass)("a"))


def test_a_class_below_another_has_the_fields_of_both():
    @dataclass(frozen=True, slots=True)
    class Above:
        word: str

        def shout(self):
            return self.word.upper()

    @dataclass(frozen=True, slots=True)
    class Below(Above):
        count: int = 2

        def shout(self):
            return super(Below, self).shout() * self.count  # noqa: UP008 - `super()` does not find a class with slots

    class Plain(Below):
        pass

    assert Below("a").shout() == Plain("a").shout() == "AA"
    assert (Above("a"), Below("a")) == (Above("a"), Below("a", 2))
    assert Above("a") != Below("a")
    assert repr(Plain("a")).endswith("Plain(word='a', count=2)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Plain("a").word = "b"
    plain = Plain("a")
    plain.more = 1
    assert copy.copy(Below("a")) == Below("a")


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(Sent("a", 4))) == Sent("a", 4)


def test_every_dataclass_of_this_program_is_made_so():
    """A frozen class of the one kind cannot be below one of the other, and the time is lost with each."""
    folder = Path(secondlook.__file__).parent
    otherwise = [
        str(path)
        for path in folder.rglob("*.py")
        if path.name != "lazily.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "dataclasses"
            and "dataclass" in {name.name for name in node.names}
        )
        or (isinstance(node, ast.Attribute) and node.attr == "dataclass")
    ]
    assert otherwise == []
