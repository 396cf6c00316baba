"""Ask a service at its own socket as if HAProxy had let the caller in; print its HTTP status.

Given: ``socket``, ``certificate`` (PEM of the caller's leaf), ``server_name``, ``source`` and
``body``.
"""

import json
import socket
import ssl
import sys
from base64 import b64encode
from http.client import HTTPConnection

given = json.loads(sys.argv[1])
line = HTTPConnection("service")
line.sock = socket.socket(socket.AF_UNIX)
line.sock.settimeout(5)
line.sock.connect(given["socket"])
shown = {
    "content-type": "application/json",
    "x-paranal-certificate": b64encode(ssl.PEM_cert_to_DER_cert(given["certificate"])).decode(),
    "x-paranal-server-name": given["server_name"],
    "x-paranal-source": given["source"],
}
line.request("POST", "/v1/person", json.dumps(given["body"]), shown)
print(json.dumps(line.getresponse().status))  # noqa: T201
