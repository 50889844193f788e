"""A class that is made quickly is what `dataclass` made of it, in everything but the time."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from secondlook.core.event import Event
from secondlook.core.subject import FileSubject, RequestContext, SubjectKind, UrlSubject
from secondlook.core.verdict import Decision, Evidence
from secondlook.download.body.body_type import Declared
from secondlook.gateway.request import GatewayRequest
from secondlook.ground.quickly import quickly_made


@quickly_made
@dataclass(frozen=True, slots=True)
class Quick:
    list: str
    count: int = 3
    words: tuple[str, ...] = ()
    hidden: bool = field(default=False, kw_only=True)
    named: str | None = field(default=None, kw_only=True)


MADE = (Event, FileSubject, RequestContext, UrlSubject, Decision, Evidence, Declared, GatewayRequest)


def test_fields_are_those_that_were_given_and_the_defaults_of_the_others():
    made = Quick("a", 4, named="n")
    assert [getattr(made, each.name) for each in fields(made)] == ["a", 4, (), False, "n"]
    assert type(made) is Quick
    assert repr(made) == "Quick(list='a', count=4, words=(), hidden=False, named='n')"
    assert made == Quick(count=4, list="a", named="n")
    assert made != Quick("a", 4)
    assert hash(made) == hash(Quick("a", 4, named="n"))
    assert replace(made, count=5) == Quick("a", 5, named="n")


def test_nothing_of_it_can_be_changed():
    made = Quick("a")
    with pytest.raises(FrozenInstanceError):
        made.count = 4
    with pytest.raises(FrozenInstanceError):
        del made.count
    with pytest.raises((AttributeError, TypeError)):
        made.other = 1
    assert made == Quick("a")


@pytest.mark.parametrize("wrong", [{}, {"list": "a", "other": 1}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(TypeError, match="argument"):
        Quick(**wrong)
    with pytest.raises(TypeError, match="argument"):
        Quick("a", 3, (), False)


def test_it_can_be_copied_and_sent_to_another_process():
    made = Evidence("unknown", "untested", "query", steps=("a",))
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.copy(made) == copy.deepcopy(made) == made


@pytest.mark.parametrize("cls", MADE)
def test_classes_of_this_program_take_what_their_fields_say(cls):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    assert [each.name for each in parameters] == [each.name for each in fields(cls)]
    values = {each.name: object() for each in fields(cls)}
    made = cls(**values)
    assert type(made) is cls
    assert {name: getattr(made, name) for name in values} == values
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(cls)[0].name, None)


def test_a_default_is_that_of_the_class():
    assert UrlSubject("http://a/", "a", ("a/",), (b"",)).kind is SubjectKind.URL
    assert Event(id="", time=0.0, kind="check").identity is None


def test_a_class_that_does_more_is_refused():
    @dataclass(frozen=True, slots=True)
    class Factory:
        words: list = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class After:
        count: int

        def __post_init__(self):
            raise AssertionError

    for each in (Factory, After):
        with pytest.raises(TypeError, match="does more than take its fields"):
            quickly_made(each)


def test_a_subclass_is_refused():
    with pytest.raises(TypeError, match="no subclasses"):
        type("Other", (Quick,), {})
