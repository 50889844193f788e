"""Faults in plain words."""

import json
import re

import pytest
from pydantic import BaseModel

from config.written import faults
from secondlook.config import InvalidConfigError, Settings, load_server_settings, load_settings
from secondlook.config.fault_words import model_in
from secondlook.config.service import ServerSettings


def test_a_secret_is_not_told(write):
    assert "hunter2" not in faults(write("review: {password: [hunter2]}\n"))[0]


def tree_of(model: type[BaseModel], value: object) -> dict[str, object]:
    """A document in which every key that is not a section has this value."""
    tree: dict[str, object] = {}
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is None:
            tree[name] = value
            continue
        below: object = tree_of(inner, value)
        annotation = str(field.annotation)
        if "tuple" in annotation:
            below = [below]
        elif "ict[" in annotation or "Mapping" in annotation:
            below = {"mw-8b": below}
        tree[name] = below
    return tree


JARGON = re.compile(
    r"\b(valid|tuple|boolean|integer|string|dict\w*|parse|input|pattern|instance|validation|item|greater|character\(s\))\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("sections", [False, True], ids=["values", "sections"])
@pytest.mark.parametrize(
    "value", [{"a": {"b": 1}}, [[1]], True, -7, 3.5, "no such thing", 10**30, ""], ids=str
)
@pytest.mark.parametrize(
    ("load", "model"),
    [(load_settings, Settings), (load_server_settings, ServerSettings)],
    ids=["proxy", "server"],
)
def test_every_wrong_type_is_told_in_plain_words(tmp_path, load, model, value, sections):
    """Every key of a configuration has a wrong value at once: each is told with its line and what was expected."""
    tree = dict.fromkeys(model.model_fields, value) if sections else tree_of(model, value)
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps(tree, indent=1))
    lines = path.read_text().splitlines()
    with pytest.raises(InvalidConfigError) as caught:
        load(path)
    assert len(caught.value.faults) >= (5 if value else 3)
    for fault in caught.value.faults:
        assert fault.origin == str(path)
        assert fault.line is not None
        name = next(part for part in reversed(fault.key.split(".")) if not part.isdigit())
        at = lines[fault.line - 1]
        missing = fault.message == "expected a value, found none"
        assert name in at or missing or fault.key.split(".")[-1].isdigit()
        expected = fault.message.partition(", got ")[0]
        assert not JARGON.search(expected.replace("keys with values", "")), str(fault)
        assert re.match(r"(expected|unknown key|not one of|this mitmproxy option)", expected), str(fault)
