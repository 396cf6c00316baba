"""A text that some have signed and others not, and an apply that it must not get past."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import bundle as bundles
from paranal.lab.lab import Lab
from paranal.messages import Refusal
from tests.mesh.support import played

HELD = (
    "sha256sum /etc/paranal/view.json; find /etc/swanctl /etc/haproxy -type f -exec sha256sum {} +;"
    " nft --stateless list table inet paranal"
)
Agreement = dict[str, Any]


def propose(lab: Lab, change: Callable[[Agreement], None], *signers: str) -> None:
    """Declare a change that only these members signed."""
    document = copy.deepcopy(lab.agreement().document)
    change(document)
    lab.declare(document)
    path = bundles.beside(lab.home.agreement)
    data = json.loads(path.read_text(encoding="utf-8"))
    last = data["steps"][-1]
    last["signatures"] = {code: last["signatures"][code] for code in signers}
    path.write_text(json.dumps(data), encoding="utf-8")


def refused(lab: Lab, nodes: Sequence[Host], *options: str) -> str:
    """Apply, which must be refused and leave these nodes as they were; return what was said."""
    before = [node.check_output(HELD) for node in nodes]
    with pytest.raises(Refusal, match=r"PAR-0221"):
        played(lab, *options)
    assert [node.check_output(HELD) for node in nodes] == before
    assert not any(node.file("/var/lib/paranal/node/lock").exists for node in nodes)
    return (lab.home.log / "site.log").read_text(encoding="utf-8")
