"""A YAML file with the line of every value, so that a refusal can name where it stands."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from paranal.messages import Refusal

FieldPath = tuple[str | int, ...]
"""Keys and indices from the root of the document to one value."""


DEEPEST = 16
"""Levels of nesting: more than twice what an agreement has."""


class _Loader(yaml.CSafeLoader):
    """YAML as the agreement means it: text, whole numbers as people write them, true and false.

    YAML 1.1 reads the country code ``no`` as false, ``2018-03-01`` as an object, the port
    ``07443`` as 3875 and ``2:04:03`` as 7443, and a key ``<<`` hides other keys; YAML 1.2
    (section 10.3, core schema) does none of it.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


for _name, _pattern, _first in (
    ("bool", r"(?:true|false)\Z", "tf"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)\Z", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Source:
    """One YAML document: its plain data and the line (from 1) of every value in it."""

    path: Path
    data: Any
    lines: dict[FieldPath, int]

    def where(self, field: FieldPath) -> str:
        """Return ``FILE:LINE`` of ``field``, or of its nearest parent that stands in the file."""
        while field not in self.lines and field:
            field = field[:-1]
        return f"{self.path}:{self.lines.get(field, 1)}"


def read(path: Path) -> Source:
    """Read one YAML file.

    Raises ``Refusal`` PAR-0113 (cannot be opened), PAR-0101 (not YAML), PAR-0122 (what is not
    written out: an alias, a tag) or PAR-0103 (a key twice).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal("PAR-0113", where=str(path), reason=reason) from error
    try:
        _written_out(text, path)
        loader = _Loader(text)
        try:
            with _uncollected():
                node = loader.get_single_node()
                lines = dict(_lines(node, (), path)) if node else {}
                data = loader.construct_document(node) if node else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise Refusal("PAR-0101", where=f"{path}:{line}", reason=reason) from error
    return Source(path, data, lines)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no circles meanwhile: a document has none, since nothing in it is an alias.

    With 64 members the search takes longer than the reading, and ever longer with each.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


def _written_out(text: str, path: Path) -> None:
    """Refuse what makes YAML mean more than it shows, before anything is built from it.

    An alias can hold itself, or a gigabyte in ten lines; a tag chooses how its value is read.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        found = (getattr(event, "tag", None) or "").replace("tag:yaml.org,2002:", "!!")
        if isinstance(event, yaml.AliasEvent):
            found = f"*{event.anchor}"
        if depth > DEEPEST:
            found = "[" * depth
        if found:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise Refusal("PAR-0122", where=f"{path}:{line}", found=found, deepest=DEEPEST)


def _lines(node: yaml.Node, field: FieldPath, path: Path) -> Iterator[tuple[FieldPath, int]]:
    """Yield (path, line) for ``node`` and all below it; refuse a key that stands twice."""
    yield field, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*field, index), path)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise Refusal("PAR-0103", where=f"{path}:{key.start_mark.line + 1}", key=name)
            seen.add(name)
            yield from _lines(value, (*field, name), path)
            # a block value starts a line below its key; the key is where a reader looks
            yield (*field, name), key.start_mark.line + 1
