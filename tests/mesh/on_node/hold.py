"""Hold one connection open: a question, then a second one on the same connection.

Given: ``address``, ``port``, ``server_name``, ``source``, ``credentials`` (a file), ``line``
(method and path), ``body``, ``again`` and ``file``. After the first answer it writes JSON to
``file``: ``first`` (HTTP status), ``port`` (its own), ``seq`` and ``ack`` (of TCP, both next). When
a file ``again`` is there, or the far end has ended the connection, it asks again and adds
``second`` (HTTP status, None when the connection was cut) and ``error``.
"""

import json
import select
import socket
import ssl
import sys
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from uuid import uuid4

SECONDS = 60
REPAIR, REPAIR_QUEUE, QUEUE_SEQ = 19, 20, 21
RECEIVED, SENT = 1, 2
REPAIR_OFF_SILENTLY = -1


def question(given: dict[str, Any]) -> bytes:
    """Return a request with an identity of its own."""
    body = json.dumps({**given["body"], "request_id": str(uuid4())}).encode()
    head = f"{given['line']} HTTP/1.1\r\nHost: {given['server_name']}\r\n"
    if given["line"].startswith("GET"):
        return f"{head}\r\n".encode()
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(line: ssl.SSLSocket, given: dict[str, Any]) -> int:
    """Ask and return the status."""
    line.sendall(question(given))
    response = HTTPResponse(line)
    response.begin()
    response.read()
    return response.status


def sequence(line: ssl.SSLSocket) -> dict[str, int]:
    """Return what the next octet in each direction is numbered."""
    with socket.socket(fileno=socket.dup(line.fileno())) as bare:
        bare.setsockopt(socket.IPPROTO_TCP, REPAIR, 1)
        numbers = {}
        for name, queue in (("ack", RECEIVED), ("seq", SENT)):
            bare.setsockopt(socket.IPPROTO_TCP, REPAIR_QUEUE, queue)
            found = bare.getsockopt(socket.IPPROTO_TCP, QUEUE_SEQ, 4)
            numbers[name] = int.from_bytes(found, sys.byteorder)
        bare.setsockopt(socket.IPPROTO_TCP, REPAIR, REPAIR_OFF_SILENTLY)
    return numbers


def tell(given: dict[str, Any], told: dict[str, Any]) -> None:
    """Write what is known so far, whole."""
    beside = Path(given["file"] + ".new")
    beside.write_text(json.dumps(told), encoding="utf-8")
    beside.replace(given["file"])


def hold(given: dict[str, Any]) -> None:
    """Ask, wait, ask again."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(given["credentials"])
    where, source = (given["address"], given["port"]), (given["source"], 0)
    with (
        socket.create_connection(where, 5, source) as plain,
        client.wrap_socket(plain, server_hostname=given["server_name"]) as line,
    ):
        told: dict[str, Any] = {"first": ask(line, given), "port": line.getsockname()[1]}
        told |= sequence(line)
        tell(given, told)
        deadline = time.monotonic() + SECONDS
        while not Path(given["again"]).exists() and time.monotonic() < deadline:
            if select.select([line], [], [], 0.1)[0]:
                break
        told |= {"second": None, "error": ""}
        try:
            told["second"] = ask(line, given)
        except (OSError, HTTPException) as failure:
            told["error"] = f"{type(failure).__name__}: {failure}"
        tell(given, told)


hold(json.loads(sys.argv[1]))
