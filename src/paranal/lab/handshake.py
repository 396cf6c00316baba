"""Make one pair's tunnels anew and time it, as a program on the gateway of its initiator.

Runs alone there (standard library and ``vici`` only), with JSON: ``peer`` (its IKE identity),
``children``, the ``key_exchange`` that must have been negotiated (charon's name), and ``times``.
It prints the seconds of each time: one IKE_SA, then one child after the other.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

ORDER_MILLISECONDS = "10000"


def standing(session: Any, peer: str, key_exchange: str) -> str:  # noqa: ANN401 - vici is untyped
    """Return the connection of the one IKE_SA with a peer; none of another key exchange is one."""
    found: dict[str, str] = {}
    for message in session.list_sas():
        for name, sa in message.items():
            if sa.get("remote-id", b"").decode() == peer:
                further = [f"KE1_{sa['ake1'].decode()}"] if "ake1" in sa else []
                found[name] = "/".join([sa["dh-group"].decode(), *further])
    if list(found.values()) != [key_exchange]:
        raise SystemExit(f"{key_exchange} with {peer} is wanted, there is {found}")
    return next(iter(found))


def main() -> None:
    """Break and make the pair so many times."""
    import vici

    given = json.loads(sys.argv[1])
    session, wanted, took = vici.Session(), (given["peer"], given["key_exchange"]), []
    name = standing(session, *wanted)
    for _ in range(given["times"]):
        list(session.terminate({"ike": name, "timeout": ORDER_MILLISECONDS}))
        begun = time.monotonic()
        for child in given["children"]:
            list(session.initiate({"ike": name, "child": child, "timeout": ORDER_MILLISECONDS}))
        took.append(time.monotonic() - begun)
        standing(session, *wanted)
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main()
