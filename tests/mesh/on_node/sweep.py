"""Send so many octets on a connection of their own, for each size; print the sizes that came back.

Given: ``target`` (address, port) where everything is sent back, ``source``, ``sizes``, ``seconds``
for each.
"""

import json
import socket
import sys

given = json.loads(sys.argv[1])


def came_back(size: int) -> bool:
    """Tell whether the far end sends back what it is sent, in time."""
    place, source = tuple(given["target"]), (given["source"], 0)
    content = bytes(number % 251 for number in range(size))
    try:
        with socket.create_connection(place, given["seconds"], source) as line:
            line.sendall(content)
            with line.makefile("rb") as answer:
                return answer.read(size) == content
    except OSError:
        return False


print(json.dumps([size for size in given["sizes"] if came_back(size)]))  # noqa: T201
