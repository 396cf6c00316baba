"""A member's rules as the role firewall would load them, and any rules as nft reads them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2.nativetypes import NativeEnvironment

from paranal.messages import Refusal
from paranal.rendering import render

ROOT = Path(__file__).resolve().parents[4]
"""The checkout: the rules come from its templates and from its role's defaults."""

# Whoever is not root has no /usr/sbin in the path.
FIND = "PATH=$PATH:/usr/sbin:/sbin"
LIST = "nft --json --numeric list ruleset"
SECONDS = 30
ANY_MSS = 1160
"""The role derives it; no verdict depends on it."""


def rules(
    view: Mapping[str, Any], variables: Mapping[str, Any] | None = None, root: Path = ROOT
) -> str:
    """Return the rule file that role firewall makes of a view.

    ``variables`` are the inventory's ``firewall_*``; the role's own defaults fill the rest.
    """
    role = root / "roles" / "firewall"
    given = {**_yaml(role / "defaults/main.yml"), "node_view": view, **(variables or {})}
    posts = _filled(_yaml(role / "vars/main.yml")["__firewall_posts"], given)
    values = {
        "view": view,
        "management_sources": given["firewall_management_sources"],
        "services": [*posts, *given["firewall_national_services"]],
        "log_rate": given["firewall_log_rate"],
        "tunnel_mss": ANY_MSS,
    }
    return render(root / "templates", "nft/firewall.nft.j2", values)


def variables(file: Path) -> dict[str, Any]:
    """Return an inventory file's variables. Raises ``Refusal`` PAR-0808 when it holds none."""
    try:
        found = _yaml(file)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refusal("PAR-0808", where=str(file), reason=" ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise Refusal("PAR-0808", where=str(file), reason=type(found).__name__)
    return found


def _yaml(file: Path) -> Any:  # noqa: ANN401 - YAML of any shape
    return yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def _filled(value: Any, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - YAML of any depth
    """Fill in what Ansible would, in every text of a variable."""
    if isinstance(value, list):
        return [_filled(each, given) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, given) for key, each in value.items()}
    return NativeEnvironment().from_string(value).render(given) if isinstance(value, str) else value


def listing(text: str, where: str) -> dict[str, Any]:
    """Return what nft and this kernel make of rules: text, or JSON as nft lists it.

    They are loaded into a network namespace that ends with the command. Raises ``Refusal`` PAR-0803
    without nft or a namespace, PAR-0804 for rules that nft refuses.
    """
    form = "--json " if text.lstrip().startswith("{") else ""
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    load = f"{FIND}; nft {form}--file /dev/stdin && exec {LIST}"
    ready = _run([*unshare, "sh", "-c", f"{FIND}; {LIST}"], "")
    if ready.returncode != 0:
        raise Refusal("PAR-0803", reason=_first_line(ready))
    done = _run([*unshare, "sh", "-c", load], text)
    if done.returncode != 0:
        raise Refusal("PAR-0804", where=where, reason=_first_line(done))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def given(file: Path) -> str:
    """Return the rules in a file. Raises ``Refusal`` PAR-0804 when it holds no text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("PAR-0804", where=str(file), reason=str(error)) from error


def _first_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]


def _run(argv: Sequence[str], given: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own words; the rules go in by standard input
            argv, input=given, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal("PAR-0803", reason=str(error)) from error
