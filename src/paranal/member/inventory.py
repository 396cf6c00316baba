"""A national inventory out of ``templates/inventory``, as ``inventories/example-pe`` is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from paranal.rendering import render

TEMPLATES = Path(__file__).parents[3] / "templates"
TREE = "inventory"
ANY_MEMBER = "member"
"""The folder in the templates that bears the member's code in an inventory."""
HOSTS = (11, 12, 13, 20, 30)
"""Places in the inner prefix where the example has a country's own services."""


def inventory(
    code: str, facts: Mapping[str, Any], signers: Sequence[str], places: Mapping[str, str]
) -> dict[str, str]:
    """Return path -> text of a member's inventory.

    ``signers`` are lines of ``allowed_signers``; ``places`` says where ``agreement``, ``ca`` and
    ``ppk`` are on the controller. What only the country knows (its management network, its own
    services, its operators' keys) stands there as an example, in documentation addresses.
    """
    prefix = ip_network(facts["inner_prefix"])
    values = {
        **places,
        "code": code,
        "name": facts["name"]["en"],
        "signers": [line.strip() for line in signers],
        "inner": {place: str(prefix[place]) for place in HOSTS},
    }
    tree = TEMPLATES / TREE
    found = {}
    for template in sorted(tree.rglob("*.j2")):
        name = template.relative_to(TEMPLATES)
        parts = [code if part == ANY_MEMBER else part for part in name.parts[1:]]
        found["/".join(parts).removesuffix(".j2")] = render(TEMPLATES, str(name), values)
    return found
