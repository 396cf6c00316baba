"""Render the shared templates (``templates/``) from plain data: one way for roles and for audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2


def render(folder: Path, name: str, values: Mapping[str, Any]) -> str:
    """Return the template ``name`` below ``folder``, filled with ``values``.

    A name without a value is an error. Raises ``jinja2.TemplateError``.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        # Configuration files, no web page; every value is checked by the agreement's schema.
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)
