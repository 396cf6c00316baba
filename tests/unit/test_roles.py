"""Every role has the same shape, so that who knows one knows all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader
from ansible.template import Templar, trust_as_template

from paranal.agreement import load as load_agreement
from paranal.agreement import member_view
from paranal.messages import Refusal, catalogue
from paranal.pki import lab
from plugins.action.node_state import declared_check
from tests.unit.agreement.views import rooted

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = sorted(p for p in (REPOSITORY / "roles").iterdir() if p.is_dir())
# The frame around a run: its tasks are open, close and abort.
FRAME = "node"
PACKAGES = yaml.safe_load((REPOSITORY / "roles/base/defaults/main.yml").read_text())[
    "base_packages"
] + ["postgresql-17"]
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
    played = {f"{name}.yml" for name in re.findall(r"tasks_from: (\w+)", playbooks(role.name))}
    assert listed | played == {file.name for file in task_files(role)} - {"main.yml"}
    assert not listed & played


def playbooks(role: str) -> str:
    """Return the lines of all playbooks that import a role."""
    texts = (path.read_text() for path in (REPOSITORY / "playbooks").glob("*.yml"))
    lines = "\n".join(texts).splitlines()
    return "\n".join(line for line in lines if f"name: {role}," in line)


BARE: dict[str, Any] = {"packages": {"dpkg": "1.22"}, "tunnels": {"planes": ["userspace"]}}
AGREEMENT = REPOSITORY / "agreement/pacific-alliance.yml"
VIEW = member_view(load_agreement(AGREEMENT), "pe")
INSTALLED = {**BARE, "packages": dict.fromkeys([*BARE["packages"], *PACKAGES], "6.0.1-6")}
NEEDS = {"firewall": {"nftables"}, "ipsec": {"charon-systemd", "strongswan-swanctl"}}
PREFLIGHT = sorted({role.name for role in ROLES} - {FRAME})
# As ansible.cfg says, from wherever the tests are started.
filter_loader.add_directory(str(REPOSITORY / "plugins/filter"))  # type: ignore[no-untyped-call]


def trusted(file: Path) -> Any:  # noqa: ANN401 - any YAML
    """Read a file of ours as Ansible does: its templates are templates."""
    loader = DataLoader()  # type: ignore[no-untyped-call]
    return loader.load_from_file(str(file), trusted_as_template=True)


def templar(name: str, **scope: object) -> Templar:
    """Return Ansible's own judge, which knows the variables of role base and of role ``name``."""
    loader = DataLoader()  # type: ignore[no-untyped-call]
    variables: dict[str, Any] = {}
    for role in ("base", name):
        for part in ("defaults", "vars"):
            variables |= trusted(REPOSITORY / "roles" / role / part / "main.yml")
    return Templar(loader, {**variables, **scope})


def refusals_of(
    name: str, probe: dict[str, Any], *, profile: str = "classic", **results: object
) -> str:
    """Return, as text, what the role's preflight says of a probe."""
    member = {"code": "pe", "data_plane": "userspace", "inner_prefix": "10.51.0.0/16"}
    pair = {"name": "co-pe", "crypto_profile": profile}
    if profile == "ppk":
        pair["ppk"] = "co-pe-g1"
    view = {"member": member, "peers": [{"pair": pair}]}
    return preflight(name, node_view=view, node_probe=probe, **results)


def preflight(name: str, **scope: object) -> str:
    """Return what the role's preflight task says; empty when it lets the run go on."""
    judge = templar(name, **scope)
    (task,) = load(REPOSITORY / f"roles/{name}/tasks/preflight.yml")
    if "ansible.builtin.fail" in task:
        refuses = judge.evaluate_conditional(trust_as_template(task["when"]))
        text = task["ansible.builtin.fail"]["msg"]
    else:
        assertion = task["ansible.builtin.assert"]
        refuses = not judge.evaluate_conditional(trust_as_template(assertion["that"]))
        text = assertion["fail_msg"]
    said: str = judge.template(trust_as_template(text)) if refuses else ""
    return said


@pytest.mark.parametrize("name", PREFLIGHT)
def test_a_role_outside_the_frame_is_refused_in_the_catalogue_s_words(name: str) -> None:
    """Nobody opened the node: its view and its probe are undefined, and no filter sees that."""
    said = str(Refusal("PAR-0326", role=name))
    assert preflight(name) == said
    assert preflight(name, node_view=VIEW) == said
    assert preflight(name, node_probe=BARE) == said


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("database", {"database_connections": 19}, "PAR-0593"),
        ("database", {"database_connections": "40"}, "PAR-0593"),
        ("firewall", {"firewall_management_sources": []}, "PAR-0719"),
        ("firewall", {"firewall_national_services": [{"name": "x"}]}, "PAR-0720"),
        ("ipsec", {"node_probe": INSTALLED | {"tunnels": {}}}, "PAR-0716"),
        ("pki", {"pki_published": "/nowhere"}, "PAR-0418"),
        ("query_server", {"query_server_sources": []}, "PAR-0594"),
        ("query_server", {"query_server_deadline_seconds": 31}, "PAR-0595"),
    ],
)
def test_a_role_refuses_with_code_and_runbook_what_its_filter_finds(
    name: str, change: dict[str, Any], code: str, published: str
) -> None:
    view = rooted(VIEW, Path(published))
    scope = {"node_view": view, "node_probe": INSTALLED, "pki_published": published}
    assert preflight(name, **scope) == ""
    said = preflight(name, **{**scope, **change})
    assert said.startswith(f"{code}: ")
    assert f"({catalogue()[code].runbook[:6]})" in said


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what four members publish to each other."""
    folder = tmp_path_factory.mktemp("lab")
    lab.ensure(folder, load_agreement(AGREEMENT))
    return str(folder / "agreement")


@pytest.mark.parametrize("member", ["pe", "cl"])
@pytest.mark.parametrize("name", PREFLIGHT)
def test_a_role_says_what_it_checks_in_both_languages(name: str, member: str) -> None:
    """Of a member with open directions and of one with none, as node_state gets the checks."""
    view = member_view(load_agreement(AGREEMENT), member)
    judge = templar(name, node_view=view, node_probe=INSTALLED, pki_national_name="n.example")
    (task,) = trusted(REPOSITORY / f"roles/{name}/tasks/verify.yml")
    checks = [declared_check(item) for item in judge.template(task["node_state"]["checks"])]
    assert checks
    for check in checks:
        assert check["name"]["es"] != check["name"]["en"]


@pytest.mark.parametrize("name", ["firewall", "ipsec"])
def test_a_bare_machine_is_refused_only_when_base_did_not_install_what_it_lacks(name: str) -> None:
    """The probe is older than what role base installs in the same run, or would in check mode."""
    refused = refusals_of(name, BARE)
    assert all(word in refused for word in NEEDS[name])
    assert refusals_of(name, INSTALLED) == ""
    nothing = {"changed": False, "skipped": True}
    done = {"changed": True}
    for run, preview in ((done, nothing), (nothing, done)):
        said = refusals_of(name, BARE, base_install_result=run, base_install_preview_result=preview)
        assert said == ""
    assert refusals_of(name, BARE, base_install_result=nothing) == refused


@pytest.mark.parametrize(
    ("packages", "check", "runs"),
    [
        ([], False, ["ansible.builtin.apt"]),
        ([], True, ["ansible.builtin.debug"]),
        (["python3-apt"], True, ["ansible.builtin.apt"]),
        (PACKAGES, True, []),
        (PACKAGES, False, []),
    ],
)
def test_check_mode_says_what_would_be_installed_where_apt_cannot_look(
    packages: list[str], check: bool, runs: list[str]
) -> None:
    judge = templar(
        "base", node_probe={"packages": dict.fromkeys(packages, "1")}, ansible_check_mode=check
    )
    found = []
    for task in load(REPOSITORY / "roles/base/tasks/install.yml"):
        if judge.evaluate_conditional(trust_as_template(task["when"])):
            found += [key for key in task if key.startswith("ansible.builtin.")]
    assert found == runs


def test_the_hybrid_profile_is_refused_of_a_charon_that_is_too_old_and_not_of_an_unknown_one() -> (
    None
):
    assert "6.0.2" in refusals_of("ipsec", INSTALLED, profile="hybrid")
    done = {"changed": True}
    assert refusals_of("ipsec", BARE, profile="hybrid", base_install_result=done) == ""
    assert "co-pe-g1" in refusals_of("ipsec", INSTALLED, profile="ppk")


def test_plays_list_roles_and_nothing_else() -> None:
    for file in sorted((REPOSITORY / "playbooks").glob("*.yml")):
        for play in load(file):
            for task in tasks(play.get("tasks")):
                actions = {"ansible.builtin.import_role", "block"} & task.keys()
                assert actions, f"{file.name}: {task.get('name')}"
