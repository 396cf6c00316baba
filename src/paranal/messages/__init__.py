"""The one catalogue of everything Paranal says when it refuses, warns or reports.

A message has a stable code (``PAR-0101``), a Spanish and an English text with named
placeholders, and the runbook that tells an operator what to do. The texts stand in
``catalogue/*.yml``, one file per part of the house; ``tests/unit/test_messages.py`` fails when a
code lacks a text, a runbook, or a use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("es", "en")


@dataclass(frozen=True)
class Message:
    """One entry of the catalogue: its code, its text in each language, its runbook's stem."""

    code: str
    texts: dict[str, str]
    runbook: str

    def render(self, language: str, params: dict[str, Any]) -> str:
        """Return the text in ``language`` with ``params`` filled in.

        Raises ``KeyError`` when a placeholder has no value.
        """
        return self.texts[language].format_map(params)


class Refusal(Exception):
    """Something was refused; carries the message's code and the values that fill its text.

    ``str(refusal)`` is ``PAR-0101: <Spanish> | <English> (RB-006)``: Spanish first, one line.
    """

    def __init__(self, code: str, **params: Any) -> None:  # noqa: ANN401 - texts take any value
        """Look the code up at once, so that a wrong code fails where it is raised."""
        self.code = code
        self.params = params
        self.message = catalogue()[code]
        super().__init__(code, params)

    def text(self, language: str) -> str:
        """Return the sentence in one language (``es`` or ``en``)."""
        return self.message.render(language, self.params)

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"code", "es", "en", "runbook"}`` for ``--json`` output."""
        texts = {language: self.text(language) for language in LANGUAGES}
        return {"code": self.code, **texts, "runbook": self.message.runbook}

    def __str__(self) -> str:
        """Spanish, English, code and runbook on one line."""
        number = "-".join(self.message.runbook.split("-")[:2])
        return f"{self.code}: {self.text('es')} | {self.text('en')} ({number})"


def refusal_in(answer: dict[str, Any]) -> Refusal | None:
    """Put the catalogue's words on what a module answered; return its refusal, None without one.

    A module that refuses answers ``{"msg", "refusal": {"code", "params"}}`` and, by Ansible, the
    ``"exception"`` it failed with. Here the refusal's own sentence becomes ``"msg"`` and the other
    two go: nobody wants a traceback where a sentence says what to do.
    """
    refused = answer.pop("refusal", None)
    if not refused:
        return None
    answer.pop("exception", None)
    refusal = Refusal(refused["code"], **refused["params"])
    answer["msg"] = str(refusal)
    return refusal


@cache
def catalogue() -> dict[str, Message]:
    """Return every message by code, read once from ``catalogue/*.yml``.

    Raises ``ValueError`` when two files define one code.
    """
    import yaml  # only where something is said: timers start this package every few seconds

    found: dict[str, Message] = {}
    for source in sorted(Path(__file__).parent.glob("catalogue/*.yml")):
        entries = yaml.load(source.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) or {}
        for code, entry in entries.items():
            if code in found:
                raise ValueError(f"{source.name}: {code} is defined twice")
            texts = {language: entry[language] for language in LANGUAGES}
            found[code] = Message(code, texts, entry["runbook"])
    return found
