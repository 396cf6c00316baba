"""A run of a playbook that is cut short, by the death of its controller or of a gateway."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from testinfra.host import Host

from paranal.lab import raising
from paranal.lab.lab import Lab
from tests.mesh.runs import begin, kill
from tests.mesh.support import connect

STATE = "/var/lib/paranal/node"
WITHIN_SECONDS = 90
RATE = 12.0
"""Questions a second: each direction once a second. How many a machine bears is the bench's."""
SERIAL = "openssl x509 -noout -serial -in /etc/swanctl/x509/ike.pem"
STAGES = {
    "F01-opened": f"test -e {STATE}/lock",
    "F02-requested": f"grep -q requested {STATE}/leaves.json",
    "F04-installed": f"grep -qE 'installed|loaded' {STATE}/leaves.json",
    "F05-reauthenticating": f"""grep -qE '^  "[0-9]+",?$' {STATE}/connections.json""",
    "F06-proven": f"grep -q proven {STATE}/leaves.json",
}
"""Where the run is killed -> what is then seen on the node, looked for without a pause."""


FREEZE = "/sys/fs/cgroup/system.slice/ssh.service/cgroup.freeze"
"""Stops all that came to a node by ssh."""


def kill_when(running: subprocess.Popen[bytes], seen: Callable[[], object]) -> None:
    """End a run's controller once ``seen`` returns; it must not have come to its end before."""
    try:
        seen()
        assert running.poll() is None, "the run was over before it was killed"
    finally:
        kill(running)


def wait_for(lab: Lab, member: str, sign: str, pause: str = ":") -> None:
    """Return when a shell command succeeds on a node, asked there without a pause, or with one."""
    watching = f"until {sign}; do {pause}; done 2>/dev/null"
    lab.exec(member, "timeout", str(WITHIN_SECONDS), "sh", "-c", watching)


def cut_power_when(lab: Lab, member: str, sign: str, playbook: str, *options: str) -> Host:
    """Cut a gateway's power at a sign of a run on it; return the node as it came back.

    The run's module stands still from the sign until the cut, which takes a second to come.
    """
    with begin(lab, playbook, ["--limit", member, *options]) as running:
        wait_for(lab, member, f"{sign} && echo 1 > {FREEZE}")
        raising.reboot(lab, member, hard=True)
        assert running.wait(WITHIN_SECONDS) != 0, "the run was over before the gateway died"
    return connect(lab, member)
