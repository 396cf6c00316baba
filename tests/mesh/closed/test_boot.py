"""A node that boots is shut from its first packet on, also before its firewall stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from testinfra.host import Host

from paranal.lab import names, packets
from paranal.lab.lab import Lab
from paranal.lab.names import WAN
from paranal.lab.raising import reboot
from paranal.messages import Refusal
from tests.mesh.conftest import AGREEMENT
from tests.mesh.support import (
    SCRIPTS,
    Capture,
    Views,
    connect,
    counted,
    eventually,
    in_part,
    on_node,
    played,
    tunnels_up,
)

pytestmark = [
    pytest.mark.req("R6", "B3"),
    pytest.mark.skipif(AGREEMENT == "all-live", reason="a node boots alike under either agreement"),
]
UNIT = """\
[Unit]
DefaultDependencies=no
After=local-fs.target
[Service]
ExecStart=/usr/bin/python3 -I /var/lib/{name}.py {given}
Restart=on-failure
RestartSec=100ms
StartLimitIntervalSec=0
[Install]
WantedBy=sysinit.target
"""
BOOT_SECONDS, BACK_SECONDS = 25, 60
RULES = "/etc/paranal/firewall.nft"


@pytest.fixture
def early(nodes: dict[str, Host], views: Views) -> Iterator[None]:
    """At its next boots Peru offers packets to a peer, and listens, from the first moment on."""
    ours, theirs = (views[code]["member"]["addresses"]["operational"] for code in ("pe", "co"))
    anywhere = "::" if ":" in ours else "0.0.0.0"  # noqa: S104 - nft says who reaches it
    given = {
        "inner_traffic": {"pairs": [[ours, theirs]], "file": "/run/inner_traffic.json"},
        "receive": {"address": anywhere, "port": 9, "file": "/run/receive.json"},
    }
    files = {}
    for name, values in given.items():
        files[f"/var/lib/{name}.py"] = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
        quoted = json.dumps(json.dumps(values, separators=(",", ":")))
        unit = UNIT.format(name=name, given=quoted)
        files[f"/etc/systemd/system/{name}.service"] = unit
    on_node(nodes["pe"], "write", files=files)
    units = " ".join(given)
    nodes["pe"].check_output(f"systemctl enable {units}")
    yield
    pe = nodes["pe"]
    pe.check_output(f"systemctl disable --now {units}")
    pe.check_output(f"rm {' '.join(files)}")
    pe.check_output("systemctl daemon-reload")


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("hard", [False, True], ids=["shut down", "power cut"])
def test_no_inner_packet_passes_in_clear_while_a_node_boots(
    lab: Lab, nodes: dict[str, Host], views: Views, watch: Capture, hard: bool
) -> None:
    ours, theirs = (views[code]["member"]["addresses"]["operational"] for code in ("pe", "co"))
    link = names.wan_link("pe")
    injected = f"{theirs}.9 > {ours}.9:"
    packet = packets.udp(theirs, ours, (9, 9), b"injected").hex()
    given = {"link": link, "packet": packet, "seconds": BOOT_SECONDS}
    with (
        watch.expecting(link, theirs, ours) as seen,
        ThreadPoolExecutor(1) as pool,
    ):
        sent = pool.submit(in_part, lab, WAN, "send", **given)
        reboot(lab, "pe", hard=hard)
        nodes["pe"] = connect(lab, "pe")
        assert sent.result() > 100
        assert [line for line in seen() if injected not in line] == []
    pe = nodes["pe"]
    assert json.loads(pe.file("/run/inner_traffic.json").content_string)["offered"] > 100
    assert json.loads(pe.file("/run/receive.json").content_string) == 0
    assert counted(pe, "clear_in") > 100, "what was injected did not arrive"
    order = "systemctl show --property=ActiveEnterTimestampMonotonic --value {}"
    first, wall = (
        int(pe.check_output(order.format(unit)))
        for unit in ("inner_traffic.service", "paranal-firewall.service")
    )
    assert first < wall, "nothing was offered before the firewall stood"
    assert eventually(lambda: tunnels_up(pe, ["co", "mx"]), BACK_SECONDS)


def test_a_boot_with_an_empty_rule_file_serves_nothing_until_a_run_puts_it_right(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    """nft would read the file without a word, and leave the node open."""
    on_node(nodes["pe"], "write", files={RULES: ""})
    with pytest.raises(Refusal, match=r"PAR-0214.*paranal-firewall\.service"):
        reboot(lab, "pe", hard=False)
    pe = nodes["pe"] = connect(lab, "pe")
    try:
        assert "PAR-0733" in pe.check_output("journalctl --boot --unit=paranal-firewall.service")
        # The upkeep loads what was confirmed; what needs the unit stays down all the same.
        table = "nft list table inet paranal"
        assert eventually(lambda: pe.run(table).rc == 0, BOOT_SECONDS)
        assert [pe.service(name).is_running for name in ("strongswan", "haproxy")] == [False, False]
    finally:
        played(lab, "--limit", "pe")
    assert eventually(lambda: tunnels_up(pe, ["co", "mx"]), BACK_SECONDS)
