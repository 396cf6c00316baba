"""Ask at a steady rate as a country's post does, and judge every answer; runs in a border.

Given as JSON: ``address``, ``port``, ``server_name``, ``credentials``, ``peers``, ``body``,
``rate`` (questions a second), ``deadline`` (seconds) and ``stop`` (a file that ends it). Prints
``started``, then one JSON object ``{"asked": [[when, milliseconds, answer], ...]}``. A question is
asked when its time has come, however the others fare, and never again: anything but OK, RQ or ANT
is lost, also one whose connection failed, and so is an answer after the deadline. A connection is
kept for a few questions and then made anew, so that both are tried all the time.
"""

import json
import socket
import ssl
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

GOOD = ("OK", "RQ", "ANT")
AT_ONCE = 64
LONGEST_SECONDS = 600.0

QUESTIONS = 10
"""How many a connection serves."""

Given = dict[str, Any]
Kept = list[tuple[HTTPConnection, int]]
"""Idle connections, the last used at the end, and how many questions each has served."""


def connect(given: Given) -> HTTPConnection:
    """Return a connection that is ready for a question."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(given["credentials"])
    line = HTTPConnection(given["server_name"], given["port"])
    plain = socket.create_connection((given["address"], given["port"]), given["deadline"])
    line.sock = client.wrap_socket(plain, server_hostname=given["server_name"])
    return line


def ask(given: Given, peer: str, kept: Kept) -> str:
    """Ask one country once; return its answer, or why there is none."""
    try:
        line, served = kept.pop()
    except IndexError:
        line, served = None, 0
    try:
        line = line or connect(given)
        head = {"Host": given["server_name"], "Content-Type": "application/json"}
        line.request("POST", "/v1/person", json.dumps({**given["body"], "to": [peer]}), head)
        response = line.getresponse()
        told: dict[str, Any] = json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        if line:
            line.close()
        return f"{type(error).__name__}: {error}"
    if line.sock and served + 1 < QUESTIONS:  # without a socket: the other end asked us to close
        kept.append((line, served + 1))
    else:
        line.close()
    return str(told["answers"][peer]["answer"] if response.status == 200 else told)


def judged(given: Given, peer: str, kept: Kept) -> tuple[float, float, str]:
    """Ask; return when, how long it took (ms), and the answer, with the peer where it is lost."""
    begun, clock = time.monotonic(), time.time()
    answer = ask(given, peer, kept)
    took = time.monotonic() - begun
    if answer in GOOD and took > given["deadline"]:
        answer = f"late: {answer}"
    return clock, took * 1000, answer if answer in GOOD else f"{peer}: {answer}"


def main(given: Given) -> None:
    """Ask until told to stop."""
    stop, begun, number = Path(given["stop"]), time.monotonic(), 0
    asked: list[Future[tuple[float, float, str]]] = []
    kept: Kept = []
    print("started", flush=True)  # noqa: T201 - whoever began this waits for it
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not stop.exists() and time.monotonic() - begun < LONGEST_SECONDS:
            peer = given["peers"][number % len(given["peers"])]
            asked.append(pool.submit(judged, given, peer, kept))
            number += 1
            time.sleep(max(0.0, begun + number / given["rate"] - time.monotonic()))
    print(json.dumps({"asked": [each.result() for each in asked]}))  # noqa: T201 - the result


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
