"""Ask a peer over one kept connection until it is cut, then once over a new one.

Given: ``address``, ``port``, ``server_name``, ``source``, ``credentials`` (a file), ``body``,
``seconds``, ``pause`` and ``file``. It writes JSON to ``file`` after the first answer, and at the
end: ``answered`` (how often, HTTP 200), ``ended_at`` (seconds since the epoch when a question was
not answered, None after ``seconds``), ``error``, and ``anew`` (HTTP status of the new connection,
None when the far end refused it).
"""

import json
import socket
import ssl
import sys
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from uuid import uuid4

given = json.loads(sys.argv[1])
HTTP_OK = 200


def connected() -> ssl.SSLSocket:
    """Return a connection with our own certificate; the server is not verified here."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(given["credentials"])
    where, source = (given["address"], given["port"]), (given["source"], 0)
    line = socket.create_connection(where, 5, source)
    return client.wrap_socket(line, server_hostname=given["server_name"])


def ask(line: ssl.SSLSocket) -> int:
    """Ask and return the status."""
    body = json.dumps({**given["body"], "request_id": str(uuid4())}).encode()
    head = f"POST /v1/person HTTP/1.1\r\nHost: {given['server_name']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    line.sendall(head.encode() + body)
    response = HTTPResponse(line)
    response.begin()
    response.read()
    return response.status


def tell(told: dict[str, Any]) -> None:
    """Write what is known so far, whole."""
    beside = Path(given["file"] + ".new")
    beside.write_text(json.dumps(told), encoding="utf-8")
    beside.replace(given["file"])


told: dict[str, Any] = {"answered": 0, "ended_at": None, "error": "", "anew": None}
deadline = time.monotonic() + given["seconds"]
try:
    with connected() as kept:
        while time.monotonic() < deadline:
            if (status := ask(kept)) != HTTP_OK:
                raise HTTPException(str(status))
            told["answered"] += 1
            if told["answered"] == 1:
                tell(told)
            time.sleep(given["pause"])
except (OSError, HTTPException) as error:
    told |= {"ended_at": time.time(), "error": f"{type(error).__name__}: {error}"}
try:
    with connected() as other:
        told["anew"] = ask(other)
except (OSError, HTTPException):
    pass
tell({**told, "done": True})
