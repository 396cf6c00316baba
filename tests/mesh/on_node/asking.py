"""Ask the national listener over and over on one connection; print what was answered, as JSON.

Given: ``address``, ``port``, ``server_name``, ``body``, ``credentials`` (a file of key and chain),
``seconds``, ``pause`` (seconds from one question's answer to the next question). Printed: a list of
``{"at", "outcome", "answers": {CC: answer}, "milliseconds"}``; an exchange that failed has the
outcome ``null`` and the ``error``. No question is asked twice; the next one has a new connection
where the server announced the end of this one. The server is not verified: other tests do that.
"""

import json
import socket
import ssl
import sys
import time
from http.client import HTTPConnection, HTTPException
from typing import Any

given = json.loads(sys.argv[1])
WAIT_SECONDS = 15.0


def connected() -> HTTPConnection:
    """Return a connection over TLS with the post's own certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(given["credentials"])
    line = socket.create_connection((given["address"], given["port"]), WAIT_SECONDS)
    made = HTTPConnection(given["server_name"])
    made.auto_open = 0  # it would look up a name that no resolver knows, for seconds
    made.sock = client.wrap_socket(line, server_hostname=given["server_name"])
    return made


def asked(line: HTTPConnection) -> dict[str, Any]:
    """Ask once."""
    line.request(
        "POST", "/v1/person", json.dumps(given["body"]), {"Content-Type": "application/json"}
    )
    said = json.loads(line.getresponse().read())
    answers = {code: one["answer"] for code, one in said.get("answers", {}).items()}
    return {"outcome": said.get("outcome"), "answers": answers}


begun, seen = time.monotonic(), []
connection = connected()
while (started := time.monotonic()) - begun < given["seconds"]:
    try:
        if connection.sock is None:  # it failed, or the last answer said that it ends with it
            connection = connected()
        one = asked(connection)
    except (OSError, HTTPException, ValueError) as error:
        one = {"outcome": None, "answers": {}, "error": f"{type(error).__name__}: {error}"}
        connection.close()
    now = time.monotonic()
    seen.append({"at": started - begun, "milliseconds": (now - started) * 1000, **one})
    time.sleep(given["pause"])
print(json.dumps(seen))  # noqa: T201
