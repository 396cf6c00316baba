"""Ask a national listener one question after another, as a post does, until told to stop.

Given: ``address``, ``port``, ``server_name``, ``credentials``, ``body``, ``peer`` (whose answer
counts), ``at_once`` and ``stop`` (a file). Printed as JSON: ``answered``, ``failed`` (of each the
answer, or the error) and ``worst_ms``.
"""

import json
import socket
import ssl
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

SECONDS = 120

given = json.loads(sys.argv[1])
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
client.load_cert_chain(given["credentials"])
stop, deadline = Path(given["stop"]), time.monotonic() + SECONDS
answered: list[float] = []
failed: list[str] = []


def ask() -> str:
    """Ask once and return what the peer answered."""
    line = HTTPConnection(given["server_name"], given["port"])
    plain = socket.create_connection((given["address"], given["port"]), 10)
    line.sock = client.wrap_socket(plain, server_hostname=given["server_name"])
    try:
        head = {"Host": given["server_name"], "Content-Type": "application/json"}
        line.request("POST", "/v1/person", json.dumps(given["body"]), head)
        response = line.getresponse()
        told: dict[str, Any] = json.loads(response.read())
    finally:
        line.close()
    return str(told["answers"][given["peer"]]["answer"] if response.status == 200 else told)


def loop() -> None:
    """Ask until told to stop."""
    while not stop.exists() and time.monotonic() < deadline:
        begun = time.monotonic()
        try:
            answer = ask()
        except (OSError, HTTPException, ValueError) as error:
            answer = f"{type(error).__name__}: {error}"
        took = (time.monotonic() - begun) * 1000
        answered.append(took) if answer == "OK" else failed.append(f"{answer} after {took:.0f} ms")


threads = [threading.Thread(target=loop) for _ in range(given["at_once"])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
summary = {"answered": len(answered), "failed": failed, "worst_ms": max(answered, default=0)}
print(json.dumps(summary))  # noqa: T201
