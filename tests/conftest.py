"""What holds for every test, wherever it was started from."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take interrupts again: who starts tests in the background often has them ignored.

    An ignored signal stays ignored in every program started from here, and several tests interrupt
    one to see what it leaves.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
