"""A caller with any certificate, name and address: runs inside a node, one JSON object in and out.

In: ``{"from", "to", "port", "name", "pem", "tls", "method", "path", "headers", "body"}``; ``pem``
None shows no certificate. Out: ``{"status", "body"}``, or ``{"failed": kind}`` when TLS ended it.
The server is not verified here: what is judged is whom it lets in.
"""

import http.client
import json
import socket
import ssl
import sys
import tempfile


def main() -> None:
    """Call once and print what came of it."""
    asked = json.load(sys.stdin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion[asked["tls"]]
    if asked["pem"]:
        with tempfile.NamedTemporaryFile("w") as file:  # the one way in
            file.write(asked["pem"])
            file.flush()
            context.load_cert_chain(file.name)
    try:
        plain = socket.create_connection((asked["to"], asked["port"]), 5, (asked["from"], 0))
        connection = http.client.HTTPConnection(asked["to"])
        connection.sock = context.wrap_socket(plain, server_hostname=asked["name"])
        body = asked["body"].encode() if asked["body"] is not None else None
        connection.request(asked["method"], asked["path"], body, asked["headers"])
        answer = connection.getresponse()
        told = {"status": answer.status, "body": answer.read().decode()}
    except (OSError, http.client.HTTPException) as error:
        told = {"failed": type(error).__name__}
    sys.stdout.write(json.dumps(told) + "\n")


main()
