"""Progress on the long steps, on standard error: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show that ``text`` is under way, and how long it took when it is done."""
    from rich.console import Console  # a tenth of a second, for the steps that last longer

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    started = time.monotonic()
    if sys.stderr.isatty():
        with console.status(text):
            yield
    else:
        console.print(f"       {text} ...")
        yield
    console.print(f"{time.monotonic() - started:5.1f} s {text}")
