"""Every role has the same shape, so that who knows one knows all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = sorted(p for p in (REPOSITORY / "roles").iterdir() if p.is_dir())
# The frame around a run: its tasks are open, close and abort.
FRAME = "node"
# Neither hides a failure or a change from the operator.
BLANKET = {"ignore_errors", "failed_when", "ignore_unreachable"}


def load(path: Path) -> Any:  # noqa: ANN401 - any YAML
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def tasks(items: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    """Yield every task of a file, those inside blocks too."""
    for item in items or []:
        yield item
        for part in ("block", "rescue", "always"):
            yield from tasks(item.get(part))


def task_files(role: Path) -> list[Path]:
    return sorted((role / "tasks").glob("*.yml"))


@pytest.fixture(params=ROLES, ids=lambda role: str(role.name))
def role(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_there_are_roles() -> None:
    assert {"base", "database", "firewall", "ipsec", "node", "pki", "query_server"} <= {
        role.name for role in ROLES
    }


def test_a_role_has_its_parts(role: Path) -> None:
    parts = ["README.md", "meta/argument_specs.yml"]
    if role.name != FRAME:
        parts += ["tasks/main.yml", "tasks/preflight.yml", "tasks/verify.yml"]
    assert [part for part in parts if not (role / part).exists()] == []


def test_every_default_is_described_and_every_description_has_its_default(role: Path) -> None:
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    described = {name for entry in specs.values() for name in entry.get("options", {})}
    required = {
        name
        for entry in specs.values()
        for name, option in entry.get("options", {}).items()
        if option.get("required")
    }
    defaults = set(load(role / "defaults/main.yml") or {})
    assert described - required == defaults


def test_a_described_default_is_the_default(role: Path) -> None:
    defaults = load(role / "defaults/main.yml") or {}
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    for entry in specs.values():
        for name, option in entry.get("options", {}).items():
            if "default" in option:
                assert option["default"] == defaults[name], name


def test_names_carry_the_role(role: Path) -> None:
    public = list(load(role / "defaults/main.yml") or {})
    assert [name for name in public if not name.startswith(f"{role.name}_")] == []
    private = [name.lstrip("_") for name in load(role / "vars/main.yml") or {}]
    assert [name for name in private if not name.startswith(f"{role.name}_")] == []


def test_no_task_hides_a_failure_or_a_change(role: Path) -> None:
    for file in task_files(role):
        for task in tasks(load(file)):
            assert BLANKET.isdisjoint(task), f"{file.name}: {task.get('name')}"
            assert task.get("changed_when", True) is not False, f"{file.name}: {task.get('name')}"


def test_a_role_with_several_files_lists_them_in_main(role: Path) -> None:
    main = load(role / "tasks/main.yml")
    if main is None:
        return
    listed = {
        task["ansible.builtin.import_tasks"]
        for task in tasks(main)
        if "ansible.builtin.import_tasks" in task
    }
    assert listed == {file.name for file in task_files(role)} - {"main.yml"}


def test_plays_list_roles_and_nothing_else() -> None:
    for file in sorted((REPOSITORY / "playbooks").glob("*.yml")):
        for play in load(file):
            for task in tasks(play.get("tasks")):
                actions = {"ansible.builtin.import_role", "block"} & task.keys()
                assert actions, f"{file.name}: {task.get('name')}"
