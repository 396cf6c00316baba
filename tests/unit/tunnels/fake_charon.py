"""A charon for the tests of what is asked of it: it forgets, replaces and renews as charon does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from paranal.tunnels.charon import CharonError, IkeSa, Start
from tests.unit.tunnels.sas import ike_sa

ANCHORS = {code: code * 32 for code in ("cl", "co", "mx", "pe")}


class FakeCharon:
    """A daemon whose peers answer at once, unless they are in ``silent``."""

    def __init__(self) -> None:
        self.loaded: dict[str, dict[str, Any]] = {}
        self.starts: dict[str, bool] = {}
        self.sas: list[IkeSa] = []
        self.calls: list[str] = []
        self.silent: set[str] = set()
        self.stubborn: dict[str, str] = {}
        """Child that the peer refuses -> on which IKE_SA (its number), as it was born too early."""
        self.crossing: set[str] = set()
        """IKE_SAs, by name, that the peer ends while we do: charon starts each once more."""
        self.refuse = ""
        self.start_number = 1
        self.start_at = 2e9
        self.counter = 0
        self.held_keys: set[str] = set()

    def keys(self) -> frozenset[str]:
        return frozenset(self.held_keys)

    def started(self) -> Start:
        return Start(f"boot/{self.start_number}", self.start_at)

    def connections(self) -> dict[str, dict[str, Any]]:
        return json.loads(json.dumps(self.loaded))  # type: ignore[no-any-return]

    def ike_sas(self) -> list[IkeSa]:
        return list(self.sas)

    def load(self, message: Mapping[str, Any]) -> None:
        ((name, section),) = message.items()
        if name == self.refuse:
            raise CharonError("invalid value")
        self.calls.append(f"load {name}")
        self.forget(name, {*section.get("children", {})})
        shown = {key: section[key] for key in ("local_addrs", "remote_addrs", "rekey_time")}
        children = section.get("children", {})
        self.loaded[name] = {**shown, "children": {child: {} for child in children}}
        self.starts[name] = any("start" in one["start_action"] for one in children.values())
        if self.starts[name]:
            self.bring_up(name, *children)

    def forget_ppk(self, name: str) -> None:
        self.calls.append(f"forget {name}")

    def unload(self, name: str) -> None:
        self.calls.append(f"unload {name}")
        before = [sa for sa in self.sas if sa.name == name]
        self.forget(name, set())
        del self.loaded[name]
        self._cross([sa for sa in before if sa not in self.sas])

    def forget(self, name: str, children: set[str]) -> None:
        """End the children that are gone, of a connection that starts them; as charon does."""
        if not self.starts.get(name):
            return
        for sa in [sa for sa in self.sas if sa.name == name]:
            kept = tuple(child for child in sa.children if child.name in children)
            self.sas.remove(sa)
            if kept:
                self.sas.append(replace(sa, children=kept))

    def start(self, name: str, child: str | None = None) -> None:
        self.calls.append(f"start {name}/{child}")
        if child:
            self.bring_up(name, child)

    def bring_up(self, name: str, *children: str) -> None:
        old = [sa for sa in self.sas if sa.name == name]
        there = {child.name for sa in old for child in sa.children}
        if name.split("-")[1] in self.silent or (old and there >= set(children)):
            return
        refused = {child for child, number in self.stubborn.items() if self._is(name, number)}
        if set(children) - there <= refused and old:
            return
        self.renew(name, *there, *(set(children) - refused))

    def _is(self, name: str, number: str) -> bool:
        return any(sa.name == name and sa.unique_id == number for sa in self.sas)

    def renew(self, name: str, *children: str) -> None:
        self.counter += 1
        self.sas = [sa for sa in self.sas if sa.name != name]
        self.sas.append(ike_sa(name, str(self.counter), sorted(children)))

    def end_ike(self, unique_id: str, seconds: int = 5) -> None:
        ended = [sa for sa in self.sas if sa.unique_id == unique_id]
        self.calls += [f"end {sa.name}" for sa in ended]
        self.sas = [sa for sa in self.sas if sa.unique_id != unique_id]
        self._cross(ended)

    def _cross(self, ended: list[IkeSa]) -> None:
        for sa in ended:
            if sa.name in self.crossing:
                self.crossing.remove(sa.name)
                self.renew(sa.name, *(child.name for child in sa.children))

    def end_child(self, unique_id: str, seconds: int = 5) -> None:
        self.calls.append(f"end child {unique_id}")
        self.sas = [
            replace(sa, children=tuple(c for c in sa.children if c.unique_id != unique_id))
            for sa in self.sas
        ]

    def reauthenticate(self, unique_id: str) -> None:
        (sa,) = [sa for sa in self.sas if sa.unique_id == unique_id]
        self.calls.append(f"reauthenticate {sa.name}")
        self.renew(sa.name, *(child.name for child in sa.children))

    def renew_child(self, unique_id: str) -> None:
        self.calls.append(f"renew child {unique_id}")
