"""``paranal control``: compare agreements, take and send on revocation lists, announce."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.control import announce, effect, inbox, parity, trusted
from paranal.control.call import Caller
from paranal.control.install import KEPT, Place
from paranal.control.relay import PATH
from paranal.messages import Refusal
from paranal.pki import lists
from paranal.pki.lists import OCTETS_MAX
from paranal.pki.storage import locked
from paranal.serving.view import Peer, View
from paranal.tunnels.gateway import VIEW, read_view, require_root

AT_ONCE = 8
VERDICTS = {"equal": "igual", "differs": "DIFIERE", "no answer": "sin respuesta"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the four words."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    word = words.add_parser("parity", help="compare each pair's digest with the peer's own")
    word.add_argument("peers", nargs="*", metavar="PEER", help="only these (default: all)")
    word = words.add_parser("import", help="take revocation lists: verify, install, take effect")
    word.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: the inbox")
    word = words.add_parser("push", help="import lists here and send them to the peers")
    word.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="one list each; '-': stdin"
    )
    word.add_argument("--own", action="store_true", help="our own lists, as installed")
    word.add_argument("--to", action="append", metavar="PEER", help="only to this peer")
    announce.configure(words.add_parser("notice", help="announce maintenance; read the peers'"))
    for word in words.choices.values():
        word.add_argument("--json", action="store_true", help="as data")
        word.add_argument("--view", type=Path, default=VIEW, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run one word: 0 done, 1 a parity differs, 2 a peer was not seen or told, 3 refused.

    Raises ``Refusal`` PAR-0690 without root, PAR-0691 without a view.
    """
    require_root(f"control {args.word}")
    view = msgspec.convert(read_view(args.view), View)
    words = {"parity": _parity, "import": _import, "push": _push, "notice": announce.run}
    return words[args.word](args, view)


# --- parity ---------------------------------------------------------------------------------------


def _parity(args: argparse.Namespace, view: View) -> int:
    caller = Caller(view)
    now = time.time()

    def compared(peer: Peer) -> parity.Compared:
        return parity.compare(caller, peer, trusted.told(trusted.FILE, peer.code, now))

    found = _at_once(compared, _chosen(caller, args.peers))
    data = {"member": view.member.code, "pairs": {one.ours.pair: one.as_dict() for one in found}}
    _print(args, data, (line for one in found for line in _told(one)))
    verdicts = {one.verdict for one in found}
    if parity.DIFFERS in verdicts:
        return 1
    return 2 if parity.UNSEEN in verdicts else 0


def _told(one: parity.Compared) -> Iterable[str]:
    ours, theirs = one.ours, one.theirs
    yield f"{ours.pair}: {VERDICTS[one.verdict]} | {one.verdict}"
    for each in (ours, theirs) if theirs else ():
        yield f"  {each.member}: epoch {each.epoch}, parity {each.parity}, digest {each.digest}"
        yield f"    confía en | trusts: {_short(each.trusts)}"
        yield f"    sus certificados son de | its leaves are of: {_short(each.issuers)}"
    if one.refusal:
        yield f"  {one.refusal}"


def _short(digests: Iterable[str]) -> str:
    return ", ".join(f"{one[:16]}…" for one in digests) or "-"


def _chosen(caller: Caller, codes: Sequence[str] | None) -> list[Peer]:
    """Return the peers to call; refuses (PAR-0916) one that may not be called, or nobody at all."""
    callable_ = {peer.code: peer for peer in caller.peers()}
    wanted = codes or sorted(callable_)
    closed = [code for code in wanted if code not in callable_]
    if closed or not wanted:
        everyone = [peer.code for peer in caller.view.peers]
        raise Refusal("PAR-0916", peers=", ".join(closed or everyone))
    return [callable_[code] for code in wanted]


# --- lists ----------------------------------------------------------------------------------------


def _import(args: argparse.Namespace, view: View) -> int:
    place = Place()
    with _alone(place):
        if args.files:
            done = [_taken(place, view, _read(path), again=True) for path in args.files]
        else:
            done = _from_inbox(place, view)
    if not args.files and (unseen := trusted.note(view, time.time())):
        sys.stderr.write(f"{unseen}\n")
    _print(args, {"lists": done}, (_line(one) for one in done))
    return 3 if any("refusal" in one for one in done) else 0


def _from_inbox(place: Place, view: View) -> list[dict[str, Any]]:
    """Take what the service left, and put back what was kept and an older one has replaced."""
    done = []
    for path, data in inbox.waiting(place.real(inbox.INBOX)):
        done.append(_tried(place, view, data))
        if stays := inbox.drop(path):
            sys.stderr.write(f"{stays}\n")
    for path, owed in place.kept():
        try:
            one = _taken(place, view, path.read_bytes(), again=owed)
        except Refusal as refusal:
            one = _not_put_back(path, refusal)
        done += [one] if one.get("paths") or "refusal" in one else []
    return done


def _not_put_back(path: Path, refusal: Refusal) -> dict[str, Any]:
    """Say what is wrong with a list that was kept; one that was overtaken is forgotten."""
    if refusal.code == "PAR-0906":
        path.unlink()
    if refusal.code != "PAR-0912":
        return {}
    sys.stderr.write(f"{refusal}\n")
    return {"refusal": refusal.as_dict()}


def _tried(place: Place, view: View, data: bytes) -> dict[str, Any]:
    """Take one list of several; a refusal does not keep the others from their turn."""
    try:
        return _taken(place, view, data, again=False)
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return {"refusal": refusal.as_dict()}


def _taken(place: Place, view: View, data: bytes, *, again: bool) -> dict[str, Any]:
    """Verify, install and make a list count; ``again`` also where it is installed already.

    Raises ``Refusal``: PAR-0903 to PAR-0909 before anything is changed, PAR-0912 after.
    """
    news = place.judge(data, view, datetime.now(UTC))
    told: dict[str, Any] = {"member": news.member, "list": news.name, "number": news.number}
    if not (news.is_newer or again):
        return told
    paths = place.install(news)
    serials = news.added if news.is_newer else lists.revoked(news.authority)
    problems = effect.take_effect(news, serials, _identity(view, news.member))
    if problems:
        raise Refusal("PAR-0912", problems="; ".join(problems))
    place.settle(news)
    return {**told, "paths": paths}


def _identity(view: View, member: str) -> str | None:
    """Return what a peer's gateway calls itself; None for our own."""
    return None if member == view.member.code else view.peer(member).identities["ike"]


def _push(args: argparse.Namespace, view: View) -> int:
    place, caller = Place(), Caller(view)
    peers = _chosen(caller, args.to)
    sent = [_read(path) for path in args.files]
    with _alone(place):
        taken = [_taken(place, view, data, again=True) for data in sent]
    if args.own:
        sent += _own(place, view)
    told = _at_once(lambda peer: _tell(caller, peer, sent), peers)
    by_peer = dict(zip((peer.code for peer in peers), told, strict=True))
    lines = [f"{code}: {why or 'enviado | sent'}" for code, why in by_peer.items()]
    _print(args, {"lists": taken, "told": by_peer}, [*map(_line, taken), *lines])
    return 2 if any(told) else 0


def _tell(caller: Caller, peer: Peer, sent: Sequence[bytes]) -> str | None:
    """Send lists to a peer; return why it was not told, in words, None when it was."""
    try:
        for data in sent:
            caller.call(peer, "PUT", PATH, data)
    except Refusal as refusal:
        return str(refusal)
    return None


def _own(place: Place, view: View) -> list[bytes]:
    own = (one for one in place.authorities(view) if one.member == view.member.code)
    found = (crl for one in own for crl in (one.root_crl, one.issuing_crl))
    return [crl.public_bytes(Encoding.PEM) for crl in found]


def _read(path: Path) -> bytes:
    """Return a file's content, no more than a list can have; raises ``Refusal`` PAR-0911."""
    if str(path) == "-":
        return sys.stdin.buffer.read(OCTETS_MAX + 1)
    try:
        with path.open("rb") as stream:
            return stream.read(OCTETS_MAX + 1)
    except OSError as error:
        raise Refusal("PAR-0911", path=path, reason=error.strerror) from None


def _alone(place: Place) -> Any:  # noqa: ANN401 - a context manager of contextlib's
    """Hold the lock of what is kept: two imports at once would each undo the other's record."""
    folder = place.real(KEPT)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return locked(folder)


# --- printing -------------------------------------------------------------------------------------


def _line(one: dict[str, Any]) -> str:
    if "refusal" in one:
        return str(one["refusal"]["code"])
    how = "instalada | installed" if one.get("paths") else "ya estaba | was there"
    return f"{one['member']} {one['list']} {one['number']}: {how}"


def _print(args: argparse.Namespace, data: dict[str, Any], lines: Iterable[str]) -> None:
    text = json.dumps(data, ensure_ascii=False) if args.json else "\n".join(lines)
    sys.stdout.write(f"{text}\n" if text else "")


def _at_once(work: Callable[[Peer], Any], peers: Sequence[Peer]) -> list[Any]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, peers))
