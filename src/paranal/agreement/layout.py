"""Write a changed agreement into its file, with the comments and the layout that people gave it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paranal.agreement.load import Agreement
from paranal.agreement.source import read
from paranal.messages import Refusal

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

ORDER = (
    *("name", "status", "wan_address", "inner_prefix", "addresses", "identities", "data_plane"),
    *("gateway", "operator", "desk", "liaison", "contact", "roots"),
)
"""A member's keys as the shipped agreements have them; one that is not here comes last."""
ON_ONE_LINE = ("name", "addresses", "contact", "roots", "members", "ppk", "services")
"""Keys whose value stands in braces."""
WIDEST = 4096
"""No line is broken that was not."""


def rewrite(agreement: Agreement, document: dict[str, Any]) -> None:
    """Put ``document`` in the place of the agreement's file, whole or not at all.

    Epoch, members and pairs are all that may differ, and of the last two only what comes and goes.
    Raises ``Refusal`` PAR-0162 when the file would not say exactly that.
    """
    path = agreement.path.resolve()
    text = _edited(path.read_text(encoding="utf-8"), document)
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.chmod(path.stat().st_mode & 0o777)
        if read(beside).data != document:
            raise Refusal("PAR-0162", where=agreement.path)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _edited(text: str, document: Mapping[str, Any]) -> str:
    # Here, because this library is the controller's only.
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.util import load_yaml_guess_indent
    except ModuleNotFoundError as missing:
        raise Refusal("PAR-0001", word="agreement", module=missing.name) from missing
    _, sequence, offset = load_yaml_guess_indent(text)
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = WIDEST, True
    yaml.indent(mapping=2, sequence=sequence or 4, offset=2 if offset is None else offset)
    found = yaml.load(text)
    found["epoch"] = document["epoch"]
    _members(found["members"], document["members"])
    _pairs(found["pairs"], document["pairs"])
    written = io.StringIO()
    yaml.dump(found, written)
    return written.getvalue()


def _members(found: CommentedMap, wanted: Mapping[str, Any]) -> None:
    after = _cut_tail(found)
    for code in [code for code in found if code not in wanted]:
        _drop(found, code, list(found))
    for code in [code for code in wanted if code not in found]:
        facts = wanted[code]
        order = [
            *(key for key in ORDER if key in facts),
            *(key for key in facts if key not in ORDER),
        ]
        found[code] = _laid({key: facts[key] for key in order})
    _put_tail(found, after)


def _pairs(found: CommentedSeq, wanted: list[dict[str, Any]]) -> None:
    after = _cut_tail(found)
    declared = [pair["members"] for pair in wanted]
    for index in reversed(range(len(found))):
        if list(found[index]["members"]) not in declared:
            _drop(found, index, range(len(found)))
    present = [list(pair["members"]) for pair in found]
    for pair in wanted:
        if pair["members"] not in present:
            found.append(_laid(pair))
    _put_tail(found, after)


def _drop(found: Any, key: Any, keys: Sequence[Any]) -> None:  # noqa: ANN401 - ruamel's own
    """Take one out; the comments behind it, which are about the next one, stay behind its elder."""
    place = keys.index(key)
    if place:
        _put_tail(found[keys[place - 1]], _cut_tail(found[key]))
    del found[key]


def _laid(value: Any, key: str = "") -> Any:  # noqa: ANN401 - any YAML
    """Return plain data as ruamel's own, in braces where the shipped agreements have braces."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        laid: Any = CommentedMap({name: _laid(each, name) for name, each in value.items()})
    elif isinstance(value, list):
        laid = CommentedSeq([_laid(each) for each in value])
    else:
        return value
    if key in ON_ONE_LINE:
        laid.fa.set_flow_style()
    return laid


def _cut_tail(container: Any) -> str:  # noqa: ANN401 - ruamel's own
    """Take away, and return, the comments that follow the container's last value.

    ruamel keeps them with that value, from which they would go with it, or stay before a new one.
    """
    owner, key = container, None
    while _in_block(owner):
        key = len(owner) - 1 if hasattr(owner, "append") else next(reversed(owner))
        inner = owner[key]
        if not _in_block(inner):
            break
        owner = inner
    token = (owner.ca.items.get(key) or [None] * 4)[0 if hasattr(owner, "append") else 2]
    if token is None:
        return ""
    beside, newline, after = token.value.partition("\n")
    token.value = beside + newline
    return str(after)


def _put_tail(container: Any, text: str) -> None:  # noqa: ANN401 - ruamel's own
    """Put such comments behind the container's last value, whichever that is now."""
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    if text:
        lines = text.splitlines(keepends=True)
        container.ca.comment = container.ca.comment or [None, None]  # else ruamel forgets its end
        container.ca.end = [CommentToken(line, CommentMark(0)) for line in lines]


def _in_block(value: Any) -> bool:  # noqa: ANN401 - ruamel's own
    return hasattr(value, "fa") and not value.fa.flow_style() and len(value) > 0
