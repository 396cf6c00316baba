"""A run of a playbook that is cut short, by the death of its controller or of a gateway."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from testinfra.host import Host

from paranal.lab import raising
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.playbook import command, environment
from tests.mesh.support import connect

STATE = "/var/lib/paranal/node"
WITHIN_SECONDS = 60
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


def begin(lab: Lab, playbook: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a playbook, and return it while it runs."""
    return subprocess.Popen(  # noqa: S603 - a list of words
        command(playbook, options),
        env=environment(lab),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_when(running: subprocess.Popen[bytes], seen: Callable[[], object]) -> None:
    """End a run's controller once ``seen`` returns; it must not have come to its end before."""
    try:
        seen()
        assert running.poll() is None, "the run was over before it was killed"
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def wait_for(lab: Lab, member: str, sign: str) -> None:
    """Return when a shell command succeeds on a node, asked there without a pause."""
    watching = f"until {sign}; do :; done 2>/dev/null"
    lab.exec(member, "timeout", str(WITHIN_SECONDS), "sh", "-c", watching)


def cut_power_when(lab: Lab, member: str, sign: str, playbook: str, *options: str) -> Host:
    """Cut a gateway's power at a sign of a run on it; return the node as it came back."""
    with begin(lab, playbook, ["--limit", member, *options]) as running:
        wait_for(lab, member, sign)
        raising.reboot(lab, member, hard=True)
        assert running.wait(WITHIN_SECONDS) != 0, "the run was over before the gateway died"
    return connect(lab, member)
