"""Open one TLS connection and post a question; print how far it came, as JSON.

Given: ``address``, ``port``, ``server_name``, ``body``; optionally ``source`` (address to bind),
``credentials`` (a file, or the PEM itself, of key and chain) and ``seconds``. The server is not
verified: what is tested is whether *it* lets us in. Printed: ``reached`` (TCP), ``status`` (HTTP,
None when the server ended it before), ``answer`` (the body as JSON), ``error``, ``milliseconds``.
"""

import json
import socket
import ssl
import sys
import tempfile
import time
from http.client import HTTPResponse
from pathlib import Path
from typing import Any


def context(credentials: str | None) -> ssl.SSLContext:
    """Return a client that shows what it was given and asks nothing of the server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if credentials and Path(credentials[:100]).exists():
        made.load_cert_chain(credentials)
    elif credentials:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(credentials)
            file.flush()
            made.load_cert_chain(file.name)
    return made


def call(given: dict[str, Any]) -> dict[str, Any]:
    """Connect, shake hands, post, and read the answer."""
    seen: dict[str, Any] = {"reached": False, "status": None, "answer": None, "error": None}
    source = (given["source"], 0) if given.get("source") else None
    body = json.dumps(given["body"]).encode()
    head = f"POST /v1/person HTTP/1.1\r\nHost: {given['server_name']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        where, seconds = (given["address"], given["port"]), given.get("seconds", 5)
        with socket.create_connection(where, seconds, source) as line:
            seen["reached"] = True
            client = context(given.get("credentials"))
            with client.wrap_socket(line, server_hostname=given["server_name"]) as secured:
                secured.sendall(head.encode() + body)
                response = HTTPResponse(secured)
                response.begin()
                seen["status"] = response.status
                text = response.read()
                seen["answer"] = json.loads(text) if text.startswith(b"{") else None
    except OSError as error:
        seen["error"] = f"{type(error).__name__}: {error}"
    return seen


started = time.monotonic()
outcome = call(json.loads(sys.argv[1]))
print(json.dumps({**outcome, "milliseconds": (time.monotonic() - started) * 1000}))  # noqa: T201
