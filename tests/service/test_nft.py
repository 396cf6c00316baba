"""The real nft on what we render and on what we ask it, each time in a namespace of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugins.module_utils.paranal_nft import Firewall
from plugins.module_utils.paranal_node import Node, Refused, run_command

GOLDEN = Path(__file__).parents[1] / "unit" / "templates" / "golden"


@pytest.mark.req("R6", "B3")
@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.nft")), ids=lambda file: file.stem)
def test_nft_loads_every_ruleset_that_the_templates_render(file: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own file, in a namespace that ends with the command
        ["unshare", "--net", "nft", "--file", str(file)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nft_refuses_nonsense_and_lists_what_it_loads(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.prepare()
    ours = Firewall(node, run_command, tmp_path)
    with pytest.raises(Refused, match="PAR-0711"):
        ours.declared("table inet paranal { chain x { nonsense } }\n")
    chain = "table inet paranal {{\n chain x {{\n tcp dport {} counter accept\n }}\n}}\n"
    one, two, other = (ours.declared(chain.format(port)) for port in ("22", "ssh", "23"))
    assert one == two
    assert one != other
