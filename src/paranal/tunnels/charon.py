"""What a gateway's IKE daemon says and does, over its VICI socket.

One method per command, frozen dataclasses out, generators drained before anything else is sent.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SOCKET = "/run/charon.vici"

ESTABLISHED = "ESTABLISHED"
INSTALLED = "INSTALLED"
RENEWING = frozenset({"REKEYING", "REKEYED"})


class CharonError(Exception):
    """Charon cannot be reached, or refused a command; the text is charon's own reason."""


class CharonSilent(CharonError):
    """Charon took a question and let the time for its answer pass."""


@dataclass(frozen=True)
class Start:
    """Which charon this is: it changes with every restart, and only then."""

    identity: str
    at: float
    """Seconds since the epoch; a second or so is uncertain."""


@dataclass(frozen=True)
class ChildSa:
    """One CHILD_SA: its name, charon's number for it, its state, algorithms and SPIs."""

    name: str
    unique_id: str
    state: str
    encryption: str
    """As charon names it, with the key length in bits: ``AES_GCM_16-256``."""
    key_exchange: str
    """``ECP_384``, with further exchanges after it: ``ECP_384/KE1_ML_KEM_1024``; empty: none."""
    esn: bool
    spi_in: str
    spi_out: str
    bytes_in: int
    bytes_out: int
    local_ts: tuple[str, ...]
    remote_ts: tuple[str, ...]
    installed_seconds: int = 0


@dataclass(frozen=True)
class IkeSa:
    """One IKE_SA with its CHILD_SAs; ``name`` is the connection's it was born from."""

    name: str
    unique_id: str
    state: str
    initiator: bool
    remote_id: str
    local_host: str
    remote_host: str
    encryption: str
    prf: str
    key_exchange: str
    ppk: bool
    established_seconds: int
    busy: bool
    """True while a task of this IKE_SA is queued or runs."""
    children: tuple[ChildSa, ...]
    """The oldest first."""

    @property
    def established(self) -> bool:
        """Tell whether both ends have authenticated each other."""
        return self.state in (ESTABLISHED, "REKEYING", "REKEYED")

    def installed(self) -> frozenset[str]:
        """Return the names of the CHILD_SAs that carry traffic now."""
        return frozenset(
            child.name for child in self.children if child.state in RENEWING | {INSTALLED}
        )


class Charon:
    """A session with charon; a context manager that closes its socket.

    Raises ``CharonError`` when charon refuses or is not there, ``CharonSilent`` when it is and does
    not answer.
    """

    def __init__(self, path: str = SOCKET, seconds: float = 30.0) -> None:
        """Remember where the socket is and how long one answer may take, in seconds."""
        self._path, self._seconds = path, seconds
        self._socket: socket.socket | None = None
        self._session: Any = None

    def __enter__(self) -> Self:
        """Connect."""
        import vici  # only a gateway has it; see paranal.deb

        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(self._seconds)
        try:
            self._socket.connect(self._path)
        except OSError as error:
            self._socket.close()
            raise CharonError(f"{self._path}: {error.strerror or error}") from error
        self._session = vici.Session(self._socket)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def started(self) -> Start:
        """Return which charon answers: the process at the other end of the socket.

        Its own `stats` would do, were its start time not computed anew, and rounded, every time.
        """
        if self._socket is None:
            raise CharonError(f"{self._path}: not connected")
        peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, _, _ = struct.unpack("3i", peer)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except OSError as error:  # it went away after it answered
            raise CharonError(f"{self._path}: {error.strerror or error}") from error
        # The second field may hold spaces but ends with the last parenthesis; see proc_pid_stat(5).
        fields = stat.rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        booted = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()
            if line.startswith("btime ")
        )
        return Start(
            f"{boot}/{pid}/{fields[19]}", booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        )

    def plugins(self) -> tuple[str, ...]:
        """Return the loaded plugins, in their order."""
        return tuple(_text(name) for name in self._call("stats")["plugins"])

    def connections(self) -> dict[str, dict[str, Any]]:
        """Return every loaded connection by name, as charon shows it (it shows no proposals)."""
        loaded: dict[str, dict[str, Any]] = {}
        for message in self._stream("list_conns"):
            loaded.update(_plain(message))
        return loaded

    def ike_sas(self) -> list[IkeSa]:
        """Return every IKE_SA that has a connection, the oldest first.

        One whose peer has not said who it is has none yet, and is nobody's to judge or to end.
        """
        found = [
            _ike_sa(name, entry)
            for message in self._stream("list_sas")
            for name, entry in _plain(message).items()
            if name != _HALF_OPEN
        ]
        return sorted(found, key=lambda sa: int(sa.unique_id))

    def certificates(self) -> list[dict[str, Any]]:
        """Return the X.509 certificates charon holds; each with ``data`` (DER) and flags."""
        return [
            {key: value if key == "data" else _plain(value) for key, value in entry.items()}
            for entry in self._stream("list_certs", {"type": "X509"})
        ]

    def keys(self) -> frozenset[str]:
        """Return the keys charon can sign with: of each the SHA-1 of its public key, hex."""
        return frozenset(_plain(self._call("get_keys")).get("keys", ()))

    def load_list(self, data: bytes) -> None:
        """Take a revocation list (DER); it replaces an older one of the same authority."""
        self._call("load_cert", {"type": "X509_CRL", "flag": "NONE", "data": data})

    def forget_checked_lists(self) -> None:
        """Have charon drop its copies of the lists that it checked peers with.

        While such a copy is valid, charon may go by it although a newer list was loaded.
        """
        self._call("flush_certs", {"type": "X509_CRL"})

    def load(self, message: Mapping[str, Any]) -> None:
        """Load (or replace) one connection; ``message`` is ``to_vici``'s."""
        self._call("load_conn", message)

    def forget_ppk(self, name: str) -> None:
        """Forget a preshared key that swanctl loaded from its file; one that is gone is as good."""
        self._call("unload_shared", {"id": f"ppk-{name}"})

    def unload(self, name: str) -> None:
        """Forget a connection, if it is loaded.

        One that only traps leaves its SAs behind; one that was loaded with `start` ends them.
        """
        try:
            self._call("unload_conn", {"name": name})
        except CharonError:
            if name in self.connections():
                raise

    def start(self, name: str, child: str | None = None) -> None:
        """Ask charon to bring up an IKE_SA or a CHILD_SA, and return at once."""
        request = {"ike": name, "timeout": "-1", "init-limits": "no"}
        self._stream("initiate", request | ({"child": child} if child else {}))

    def bring_up(self, name: str, seconds: int) -> None:
        """Bring up a childless IKE_SA and wait for it; ``CharonError`` tells why it failed."""
        self._stream("initiate", {"ike": name, "timeout": str(seconds * 1000)})

    def end_ike(self, unique_id: str, seconds: int = 5) -> None:
        """Terminate one IKE_SA and its CHILD_SAs, also when the peer does not answer in time.

        One that is gone already is no error: charon ends SAs by itself when it forgets what
        they were started by.
        """
        self._end("ike-id", unique_id, seconds)

    def end_child(self, unique_id: str, seconds: int = 5) -> None:
        """Terminate one CHILD_SA; one that is gone already is no error."""
        self._end("child-id", unique_id, seconds)

    def reauthenticate(self, unique_id: str) -> None:
        """Have one IKE_SA authenticate anew, make-before-break, with the credentials as loaded."""
        self._call("rekey", {"ike-id": unique_id, "reauth": "yes"})

    def renew_child(self, unique_id: str) -> None:
        """Renew the keys of one CHILD_SA, with a key exchange of its own."""
        self._call("rekey", {"child-id": unique_id})

    def reload_settings(self) -> None:
        """Have charon read ``strongswan.conf`` again (not its list of plugins)."""
        self._call("reload_settings")

    def _end(self, key: str, unique_id: str, seconds: int) -> None:
        """Terminate an SA; that the peer was first, or never answered, is as good."""
        try:
            self._stream(
                "terminate", {key: unique_id, "force": "yes", "timeout": str(seconds * 1000)}
            )
        except CharonError:
            sas = self.ike_sas()
            children = {child.unique_id for sa in sas for child in sa.children}
            if unique_id in ({sa.unique_id for sa in sas} if key == "ike-id" else children):
                raise

    def _call(self, command: str, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        method = getattr(self._session, command)
        answer: dict[str, Any] = self._guard(
            lambda: method() if message is None else method(message)
        )
        return answer or {}

    def _stream(self, command: str, message: Mapping[str, Any] | None = None) -> list[Any]:
        method = getattr(self._session, command)
        answer: list[Any] = self._guard(lambda: list(method(message)))
        return answer

    def _guard(self, ask: Any) -> Any:  # noqa: ANN401 - whatever the command answers
        import vici.exception

        try:
            return ask()
        except vici.exception.CommandException as error:
            raise CharonError(str(error).removeprefix("Command failed: ")) from error
        except TimeoutError as error:
            raise CharonSilent(f"{self._path}: timed out after {self._seconds:g} s") from error
        except (OSError, vici.exception.SessionException) as error:
            raise CharonError(f"{self._path}: {error or type(error).__name__}") from error


_HALF_OPEN = "(unnamed)"
"""What charon calls an IKE_SA before IKE_AUTH has chosen its connection."""


def _ike_sa(name: str, entry: Mapping[str, Any]) -> IkeSa:
    children = sorted(entry.get("child-sas", {}).values(), key=lambda one: int(one["uniqueid"]))
    return IkeSa(
        name=name,
        unique_id=entry["uniqueid"],
        state=entry["state"],
        initiator=entry.get("initiator") == "yes",
        remote_id=entry.get("remote-id", ""),
        local_host=entry.get("local-host", ""),
        remote_host=entry.get("remote-host", ""),
        encryption=_cipher(entry),
        prf=entry.get("prf-alg", ""),
        key_exchange=_key_exchange(entry),
        ppk=entry.get("ppk") == "yes",
        established_seconds=int(entry.get("established", 0)),
        busy=bool(entry.get("tasks-queued") or entry.get("tasks-active")),
        children=tuple(_child_sa(child) for child in children),
    )


def _child_sa(entry: Mapping[str, Any]) -> ChildSa:
    return ChildSa(
        name=entry["name"],
        unique_id=entry["uniqueid"],
        state=entry["state"],
        encryption=_cipher(entry),
        key_exchange=_key_exchange(entry),
        esn=entry.get("esn") == "1",
        spi_in=entry.get("spi-in", ""),
        spi_out=entry.get("spi-out", ""),
        bytes_in=int(entry.get("bytes-in", 0)),
        bytes_out=int(entry.get("bytes-out", 0)),
        local_ts=tuple(entry.get("local-ts", ())),
        remote_ts=tuple(entry.get("remote-ts", ())),
        installed_seconds=int(entry.get("install-time", 0)),
    )


def _cipher(entry: Mapping[str, Any]) -> str:
    return "-".join(filter(None, (entry.get("encr-alg"), entry.get("encr-keysize"))))


def _key_exchange(entry: Mapping[str, Any]) -> str:
    further = [
        f"KE{number}_{entry[key]}" for number in range(1, 8) if (key := f"ake{number}") in entry
    ]
    return "/".join(filter(None, (entry.get("dh-group"), *further)))


def _plain(value: Any) -> Any:  # noqa: ANN401 - a VICI message has any depth
    """Turn a VICI message into plain JSON data: bytes become text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - VICI gives bytes
    text: str = _plain(value)
    return text
