"""httpx without its command line.

``import httpx`` also imports the program ``httpx``, with rich and pygments if they are installed:
a third of a second of a service's start and of every question that a post asks. httpx does without
when that module cannot be imported.
"""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: not importable

import httpx  # noqa: E402 - after the line above, which is what this file is for

__all__ = ["httpx"]
