"""The process that compiles YARA rules: `python -m secondlook.scan.compiling`; an order in, a report out.

Rules come from people and from the web: compiling them takes bounded memory and processor time, elsewhere
than in a process that serves. All are compiled or none: the first that is wrong is reported with its
file and line, and so is one that fits a file known to be good.
"""

import os
import resource
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondlook.ground.children import ChildFailedError, answer_order, ask_child
from secondlook.ground.errors import PatternError
from secondlook.ground.files import replacing
from secondlook.scan.samples import known_good
from secondlook.scan.yara_look import OWN_RULES

MEMORY_BYTES = 2 << 30
TIME_S = 300
MOST_SOURCE_BYTES = 64 << 20
EXTERNALS = ("filename", "filepath", "extension", "filetype", "owner")  # that public rules expect
_SAMPLE_TIME_S = 10
_GRACE_S = 10.0
_NICE = 10
_FAULT_CHARS = 300


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A file of rules, and the name under which people know it."""

    name: str
    path: Path


async def compile_in_child(sources: Sequence[RuleSource], target: Path) -> int:
    """Compile rules, our own with them, into a file; return how many there are.

    Raises PatternError, which names the file, the line and what is wrong, and ChildFailedError where that is
    not the rules.
    """
    answer = await ask_child(
        "secondlook.scan.compiling",
        {"sources": [[source.name, str(source.path)] for source in sources], "target": str(target)},
        "compiling the rules",
        within_s=TIME_S + _GRACE_S,
    )
    return int(answer["count"])


def compile_rules(sources: Sequence[RuleSource], target: Path) -> int:
    """Compile rules in this process; as `compile_in_child`."""
    import yara_x  # noqa: PLC0415 - large

    names = {
        f"n{number}": source for number, source in enumerate([RuleSource("own rules", OWN_RULES), *sources])
    }
    rules = _built(yara_x.Compiler(), names)
    _try_out(yara_x, rules, names)
    with replacing(target, synced=False) as file:
        rules.serialize_into(file)
    return sum(1 for _ in rules)


def _built(compiler: Any, names: Mapping[str, RuleSource]) -> Any:
    compiler.enable_includes(False)
    for name in EXTERNALS:
        compiler.define_global(name, "")
    for namespace, source in names.items():
        text = _read(source)
        compiler.new_namespace(namespace)
        try:
            compiler.add_source(text, origin=source.name)
        except Exception as error:  # noqa: BLE001 - CompileError alone, whose module is not at hand here
            raise PatternError(_fault(source, compiler.errors(), error)) from None
    return compiler.build()


def _read(source: RuleSource) -> str:
    try:
        size = source.path.stat().st_size
        if size > MOST_SOURCE_BYTES:
            raise PatternError(f"{source.name}: larger than {MOST_SOURCE_BYTES} bytes")
        raw = source.path.read_bytes().removeprefix(BOM_UTF8)  # which YARA-X takes for a rule
    except OSError as error:
        raise ChildFailedError(f"{source.name}: cannot be read: {error.strerror or error}") from None
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PatternError(f"{source.name}:{line}: expected text in UTF-8") from None


def _fault(source: RuleSource, errors: Sequence[dict[str, Any]], error: Exception) -> str:
    if not errors:
        return f"{source.name}: {error}"[:_FAULT_CHARS]
    first = errors[0]
    label = next((label["text"] for label in first.get("labels", ()) if label.get("text")), None)
    what = first["title"] if label is None else f"{first['title']}: {label}"
    return f"{source.name}:{first.get('line', '?')}:{first.get('column', '?')}: {what}"[:_FAULT_CHARS]


def _try_out(yara_x: Any, rules: Any, names: Mapping[str, RuleSource]) -> None:
    """Refuse rules that fit what is known to be good, or take too long for it."""
    scanner = yara_x.Scanner(rules)
    scanner.set_timeout(_SAMPLE_TIME_S)
    for sample, data in known_good():
        try:
            found = scanner.scan(data)
        except yara_x.TimeoutError:
            raise PatternError(f"the rules take longer than {_SAMPLE_TIME_S} s for {sample}") from None
        for rule in found.matching_rules:
            name = names[rule.namespace].name
            raise PatternError(f"{name}: the rule {rule.identifier} fits a file known to be good ({sample})")


def main() -> None:
    """Carry out one order; everything else on this machine goes first."""
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_S, TIME_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer_order(_carry_out)


def _carry_out(order: Mapping[str, Any]) -> dict[str, Any]:
    sources = [RuleSource(name, Path(path)) for name, path in order["sources"]]
    return {"count": compile_rules(sources, Path(order["target"]))}


if __name__ == "__main__":
    main()
