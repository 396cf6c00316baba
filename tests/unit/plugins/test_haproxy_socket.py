"""HAProxy's administration socket: what is said to it, and when a reload is needed instead."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugins.module_utils.paranal_haproxy import replace_certificate

PEM = "-----BEGIN X-----\nA\n\n-----END X-----\n"


@contextmanager
def answering(path: Path, *answers: str) -> Iterator[list[str]]:
    """Answer one command after another, as HAProxy does, and keep them."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                line, _ = listener.accept()
                with line:
                    heard.append(line.recv(65536).decode())
                    line.sendall(answer.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield heard
        thread.join()


def test_a_certificate_is_set_without_an_empty_line_and_committed(tmp_path: Path) -> None:
    with answering(tmp_path / "s", "Transaction created for certificate", "Success!") as heard:
        assert replace_certificate(tmp_path / "s", "/c.pem", PEM)
    lines = "-----BEGIN X-----\nA\n-----END X-----"
    assert heard == [f"set ssl cert /c.pem <<\n{lines}\n\n", "commit ssl cert /c.pem\n"]


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        (["unable to load: no such file"], "set ssl cert"),
        (["Transaction created", "Can't commit", "aborted"], "abort ssl cert"),
    ],
)
def test_what_haproxy_refuses_is_told_and_forgotten(
    tmp_path: Path, answers: list[str], last: str
) -> None:
    with answering(tmp_path / "s", *answers) as heard:
        assert not replace_certificate(tmp_path / "s", "/c.pem", PEM)
    assert heard[-1].startswith(last)


def test_without_a_socket_nothing_is_taken(tmp_path: Path) -> None:
    assert not replace_certificate(tmp_path / "none", "/c.pem", PEM)
