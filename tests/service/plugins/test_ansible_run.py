"""node_files and node_state under the real ansible-playbook, on a throw-away root.

One run of Ansible costs seconds, so each fixture runs one playbook and several tests read what
its tasks registered; a last task of the playbook prints it.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from paranal.agreement import lab as ministries
from paranal.agreement import load
from paranal.pki import lab as authorities

REPOSITORY = Path(__file__).resolve().parents[3]
AGREEMENT = REPOSITORY / "agreement" / "pacific-alliance.yml"
OWNER = {
    "owner": pwd.getpwuid(os.getuid()).pw_name,
    "group": grp.getgrgid(os.getgid()).gr_name,
}
Task = dict[str, Any]
TRUTH = {"es": "la verdad", "en": "truth"}


@dataclass
class House:
    """A directory with roles and a throw-away node root, and a way to run tasks in it."""

    folder: Path

    @property
    def root(self) -> Path:
        """The node's ``/``."""
        return self.folder / "root"

    @property
    def agreement(self) -> Path:
        """The agreement, signed by all its members."""
        return self.folder / "agreement" / "agreement.yml"

    @property
    def opening(self) -> dict[str, str]:
        """The options of a run that opens the node of PE."""
        signers = self.folder / ministries.ALLOWED
        return {"agreement": str(self.agreement), "allowed_signers": str(signers), "member": "pe"}

    def run(self, tasks: list[Task], *options: str) -> dict[str, Any]:
        """Run the tasks; return what they registered as ``r_...``, by name without the prefix."""
        names = [task["register"] for task in tasks if task.get("register", "").startswith("r_")]
        results = ", ".join(f"'{name[2:]}': {name}" for name in names)
        report = {"name": "report", "ansible.builtin.debug": {"msg": f"{{{{ {{{results}}} }}}}"}}
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"node_view": "{{ node_session.view | default({}) }}"},
            "tasks": [*tasks, report],
        }
        (self.folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
        done = subprocess.run(  # noqa: S603
            [Path(sys.executable).with_name("ansible-playbook"), "play.yml", *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg")},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout.partition("TASK [report]")[2].partition("=> ")[2]
        answers: dict[str, Any] = json.JSONDecoder().raw_decode(said)[0]["msg"]
        return answers


def on_controller(*words: str) -> Task:
    """A task that runs a command on the controller while the play goes on, in no module."""
    command = f"{{{{ lookup('ansible.builtin.pipe', '{' '.join(words)}') }}}}"
    return {"ansible.builtin.set_fact": {"did": command}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    (folder / "root/etc").mkdir(parents=True)
    (folder / "root/var").mkdir()
    (folder / "root/etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    (folder / "ansible.cfg").write_text(
        f"""
[defaults]
roles_path = roles
library = {REPOSITORY}/plugins/modules
module_utils = {REPOSITORY}/plugins/module_utils
action_plugins = {REPOSITORY}/plugins/action
interpreter_python = {sys.executable}
inject_facts_as_vars = False
localhost_warning = False
"""
    )
    house = House(folder)
    house.agreement.parent.mkdir()
    house.agreement.write_bytes(AGREEMENT.read_bytes())
    authorities.ensure(folder, load(house.agreement))
    ministries.ensure(folder)
    return house


# --- rendering and refusals, no node needed ------------------------------------------------------


def files(name: str, *, fails: bool = False, **options: object) -> Task:
    """A node_files task against the throw-away root, registered under ``r_NAME``."""
    task: Task = {
        "name": name,
        "node_files": {"root": "{{ playbook_dir }}/root", **options},
        "register": f"r_{name}",
    }
    return {**task, "ignore_errors": True} if fails else task


def tree(house: House, name: str, contents: dict[str, str]) -> str:
    """Write a tree of templates and files below the house; return its path."""
    for path, content in contents.items():
        file = house.folder / "trees" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content))
    return str(house.folder / "trees" / name)


@pytest.fixture(scope="module")
def rendered(house: House) -> dict[str, Any]:
    """What check mode says of one tree of every kind, and of each wrong one."""
    good = tree(
        house,
        "good",
        {
            "templates/etc/t/page.conf.j2": """\
                {% import '_peer.j2' as peer with context %}
                {{ ansible_managed | comment }}
                {% for item in ['co', 'mx'] %}
                {{ peer.line(item) }}
                {% endfor %}
                literal {{ '{{' }} {{ untrusted }}
                """,
            "templates/_peer.j2": "{% macro line(code) %}peer {{ code }} of {{ us }}{% endmacro %}",
            "templates/etc/t/raw.conf": "{{ not a template }}\n",
            "templates/etc/t/gone.conf.j2": "{% if false %}\nsomething\n{% endif %}\n\n",
            "files/etc/t/data": "data\n",
        },
    )
    undefined = tree(house, "undefined", {"templates/etc/t/a.j2": "{{ us }} {{ nobody.set_this }}"})
    broken = tree(house, "broken", {"templates/etc/t/a.j2": "{% if %}"})
    empty = tree(house, "empty", {"templates/etc/t/a.j2": "  \n{% if false %}x{% endif %}\n"})
    twice = tree(
        house, "twice", {"templates/etc/t/a.j2": "from templates", "files/etc/t/a": "from files"}
    )
    tasks = [
        files("good", tree=good, modes=[{"path": "/etc/*", **OWNER}]),
        files("undefined", tree=undefined, fails=True),
        files("broken", tree=broken, fails=True),
        files("empty", tree=empty, fails=True),
        files("twice", tree=twice, fails=True),
        files("idle", tree=good, secret=["/etc/typo/*"], fails=True),
        files("key", tree=good, activate=[{"path": "/etc/*", "command": ["true"]}], fails=True),
        files("outside", tree=tree(house, "outside", {"files/root/x": "x"}), fails=True),
    ]
    for task in tasks:
        task["vars"] = {"us": "pe", "untrusted": "{{ lookup('pipe', 'id') }}"}
        # What a peer sent must never become a template.
        task["vars"]["untrusted"] = "{{ '{' ~ '{ 7 * 7 }' ~ '}' }}"
    return house.run(tasks, "--check", "--diff")


def test_a_tree_is_rendered_with_macros_and_shipped_as_one(rendered: dict[str, Any]) -> None:
    diff = {item["before_header"].split(" ")[0]: item for item in rendered["good"]["diff"]}
    assert sorted(diff) == ["/etc/t/data", "/etc/t/page.conf", "/etc/t/raw.conf"]
    page = diff["/etc/t/page.conf"]["after"]
    assert "peer co of pe\npeer mx of pe\n" in page
    assert page.startswith("#\n# Managed by Paranal (good/templates/etc/t/page.conf.j2)")
    assert diff["/etc/t/raw.conf"]["after"] == "{{ not a template }}\n"


def test_text_that_came_from_elsewhere_is_never_a_template(rendered: dict[str, Any]) -> None:
    page = next(d["after"] for d in rendered["good"]["diff"] if "page.conf" in d["after_header"])
    assert "literal {{ {{ 7 * 7 }}" in page


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("undefined", "PAR-0306", "undefined/templates/etc/t/a.j2"),
        ("undefined", "PAR-0306", "'nobody' is undefined"),
        ("broken", "PAR-0306", "broken/templates/etc/t/a.j2"),
        ("empty", "PAR-0308", ""),
        ("twice", "PAR-0316", "/etc/t/a"),
        ("idle", "PAR-0314", "/etc/typo/*"),
        ("key", "PAR-0315", "path"),
        ("outside", "PAR-0303", "/root/x"),
    ],
)
def test_a_wrong_tree_is_refused_with_what_where_and_why(
    rendered: dict[str, Any], name: str, code: str, says: str
) -> None:
    assert rendered[name]["failed"]
    assert code in rendered[name]["msg"]
    assert says in rendered[name]["msg"]


def test_check_mode_on_a_node_never_touched_writes_nothing(
    house: House, rendered: dict[str, Any]
) -> None:
    assert rendered["good"]["changed"]
    assert sorted(p.name for p in house.root.iterdir()) == ["etc", "var"]
    assert [p.name for p in (house.root / "etc").iterdir()] == ["os-release"]


# --- whole runs under the lock -------------------------------------------------------------------


def state(name: str, phase: str, **options: object) -> Task:
    """A node_state task against the throw-away root."""
    arguments = {"phase": phase, "root": "{{ playbook_dir }}/root", **options}
    register = "node_session" if phase == "open" else f"r_{name}"
    return {"name": name, "node_state": arguments, "register": register}


def round_of(house: House, name: str, tree_path: str) -> list[Task]:
    """Open, apply one small tree, say what must hold, close."""
    apply = files(f"{name}_apply", tree=tree_path, modes=[{"path": "/etc/*", **OWNER}], owner="run")
    apply["node_files"]["activate"] = [{"paths": ["/etc/r/plain"], "command": ["true"]}]
    return [
        state("open", "open", **house.opening),
        apply,
        state("expect", "expect", checks=[{"name": TRUTH, "argv": ["true"]}]),
        state(f"{name}_close", "close"),
    ]


@pytest.fixture(scope="module")
def runs(house: House, rendered: dict[str, Any]) -> dict[str, Any]:
    """A first round, a second, and a third after an edit by hand."""
    path = tree(
        house,
        "run",
        {
            "templates/etc/r/peers.j2": """\
                {% for peer in node_view.peers %}
                {{ peer.code }}
                {% endfor %}
                """,
            "files/etc/r/plain": "plain\n",
        },
    )
    edit = on_controller("cp", "play.yml", str(house.root / "etc/r/plain"))
    first, second, third = (round_of(house, name, path) for name in ("first", "second", "third"))
    rounds = [*first, *second, edit, *third]
    return house.run(rounds, "--diff")


def test_the_first_run_applies_activates_verifies_and_gives_the_node_back(
    house: House, runs: dict[str, Any]
) -> None:
    assert runs["first_apply"]["created"] == ["/etc/r/peers", "/etc/r/plain"]
    assert runs["first_apply"]["activated"] == ["true"]
    assert runs["first_close"]["checks"] == [
        {"name": TRUTH, "result": "ok", "reason": {}, "fix": ""}
    ]
    assert (house.root / "etc/r/peers").read_text() == "cl\nco\nmx\n"
    assert not (house.root / "var/lib/paranal/node/lock").exists()


def test_an_unchanged_node_costs_no_run_of_node_files(runs: dict[str, Any]) -> None:
    # The action says how many entries it found as desired; the module would list what it created.
    second = runs["second_apply"]
    assert (second["changed"], second["unchanged"], "created" in second) == (False, 2, False)


def test_an_edit_by_hand_is_reported_and_put_right(house: House, runs: dict[str, Any]) -> None:
    third = runs["third_apply"]
    assert (third["created"], third["replaced"]) == ([], ["/etc/r/plain"])
    assert "gather_facts" in third["diff"][0]["before"]
    assert (house.root / "etc/r/plain").read_text() == "plain\n"


def test_the_history_has_the_runs_that_changed_something_and_no_other(
    house: House, runs: dict[str, Any]
) -> None:
    lines = (house.root / "var/lib/paranal/node/history.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    changes = ["created /etc/r/peers", "created /etc/r/plain", "true"]
    assert [item["changes"] for item in history] == [
        {"run": changes},
        {"run": ["replaced /etc/r/plain", "true"]},
    ]
    assert {item["result"] for item in history} == {"applied"}


# --- refusals that need a node -------------------------------------------------------------------


def this_controller(house: House) -> str:
    """Return how runs of this controller are named, up to the process: the round's own says it."""
    lines = (house.root / "var/lib/paranal/node/history.jsonl").read_text().splitlines()
    named: str = json.loads(lines[0])["id"]
    return named.rsplit("-", 2)[0]


@pytest.fixture(scope="module")
def refused(house: House, runs: dict[str, Any]) -> dict[str, Any]:
    """A wrong agreement, a node not opened, a node another holds, and one a died run holds."""
    lock = house.root / "var/lib/paranal/node/lock"
    wrong = house.folder / "wrong.yml"
    wrong.write_text(house.agreement.read_text().replace("10.57.0.0/16", "10.51.0.0/16"))
    here = this_controller(house)

    def holding(run: str, controller: str) -> Task:
        held = {"operator": "luis", "since": 0, "lease": 900, "expires": 4102444800}
        file = house.folder / f"lock-{run}"
        file.write_text(json.dumps({**held, "id": run, "controller": controller}))
        return on_controller("cp", str(file), str(lock))

    def attempt(name: str, **more: object) -> Task:
        task = state(name, "open", **{**house.opening, **more})
        return {**task, "register": f"r_{name}", "ignore_errors": True}

    unopened = tree(house, "unopened", {"files/etc/u": "u"})
    return house.run(
        [
            files("unopened", tree=unopened, fails=True),
            attempt("wrong", agreement=str(wrong)),
            attempt("stranger", member="ar"),
            holding("elsewhere-1-1", "elsewhere"),
            attempt("held"),
            attempt("taken", take_over="elsewhere-1-1"),
            holding(f"{os.uname().nodename}-00000000-1-0", os.uname().nodename),
            attempt("namesake"),
            holding(f"{here}-1-0", os.uname().nodename),
            attempt("died"),
        ]
    )


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("unopened", "PAR-0302", "nobody"),
        ("wrong", "PAR-0116", "wrong.yml:69"),
        ("held", "PAR-0301", "luis"),
        ("held", "PAR-0301", "paranal_take_over=elsewhere-1-1"),
    ],
)
def test_a_run_that_may_not_begin_is_refused(
    refused: dict[str, Any], name: str, code: str, says: str
) -> None:
    assert refused[name]["failed"]
    assert code in refused[name]["msg"]
    assert says in refused[name]["msg"]


def test_a_country_outside_the_alliance_has_no_view(refused: dict[str, Any]) -> None:
    assert refused["stranger"]["failed"]
    assert "ar" in refused["stranger"]["msg"]


def test_the_operator_takes_over_a_lock_by_naming_its_run(refused: dict[str, Any]) -> None:
    assert refused["taken"]["taken_over"] == "elsewhere-1-1"


def test_the_lock_of_a_run_that_died_on_this_controller_is_taken_over_at_once(
    house: House, refused: dict[str, Any]
) -> None:
    assert refused["died"]["taken_over"] == f"{this_controller(house)}-1-0"


def test_the_lock_of_another_controller_of_the_same_name_is_not(
    refused: dict[str, Any],
) -> None:
    assert refused["namesake"]["failed"]
    assert "PAR-0301" in refused["namesake"]["msg"]
