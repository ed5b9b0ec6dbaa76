"""What keeps a component from harming its node, part by part: environments, users, views, variables, limits."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from greengrass_agent.config import ConfigError
from greengrass_agent.config import load as load_config
from greengrass_agent.deployment.plan import Installed, ResolveError, configure, plan, resolve
from greengrass_agent.deployment.store import Record, Store
from greengrass_agent.host import environment
from greengrass_agent.host.cgroup import CgroupError, Group
from greengrass_agent.host.confine import Confinement, variables
from greengrass_agent.host.environment import Environment, NodePython
from greengrass_agent.host.limits import Limits
from greengrass_agent.host.users import FIRST, LAST, User, Users, free_uid
from greengrass_agent.host.view import View, own, view
from hitless.component.recipe import Recipe
from hitless.mqtt.messages import DeploymentDocument, SystemResourceLimits
from tests.patience import quickest

as_root = pytest.mark.root("needs root")
NOBODY = User(61999, 61999, "somebody")
PYTHON = NodePython.own()


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("numpy==1.26.4\nopencv-python-headless >= 4.8  # pictures\n\n# nothing else\n", True),
        ('requests[socks] ~= 2.31 ; python_version < "3.12"\n', True),
        ("six==1.16.0 \\\n  --hash=sha256:abc --hash=sha256:def\n", True),
        ("./wheels/own.whl\n", False),
        ("own-1.0-py3-none-any.whl\n", False),
        ("vendored/own\n", False),
        ("own @ file:///home/own.whl\n", False),
        ("--find-links .\nown\n", False),
        ("-r more.txt\n", False),
        ("-e .\n", False),
    ],
)
def test_an_environment_is_shared_only_if_its_requirements_say_all(text: str, shared: bool) -> None:
    one, other = (environment.key(name, digest, text.encode(), PYTHON) for name, digest in (("A", "1"), ("B", "2")))
    assert (one == other) is shared
    assert environment.key("A", "1", (text + "more\n").encode(), PYTHON) != one or not shared
    elsewhere = replace(PYTHON, version=(3, 99, 0))
    assert environment.key("A", "1", text.encode(), elsewhere) != one or not shared


def test_a_component_without_requirements_has_an_environment_for_each_version() -> None:
    keys = {environment.key(name, digest, None, PYTHON) for name, digest in (("A", "1"), ("A", "2"), ("B", "1"))}
    assert len(keys) == 3


def test_an_environment_has_the_agents_packages_behind_its_own(tmp_path: Path) -> None:
    place = Environment(tmp_path / "key")

    def make() -> float:
        began = time.perf_counter()
        place.begin(PYTHON)
        return time.perf_counter() - began

    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import venv"], check=True)
    started = time.perf_counter() - began
    assert quickest(make, below=started) < started, "less than to start a Python that would make one"
    assert not place.complete(PYTHON), "what was broken off is made anew"
    place.finish(PYTHON)
    assert place.complete(PYTHON)
    assert not place.complete(replace(PYTHON, interpreter=Path("/elsewhere/python3"))), "the agent has moved"
    script = (
        "import json, sys, hitless.function, pydantic;"
        "print(json.dumps([sys.prefix, sys.path, hitless.__file__, pydantic.__file__]))"
    )
    told = subprocess.run([place.programs / "python3", "-c", script], capture_output=True, check=True, cwd="/")
    prefix, path, runtime, package = json.loads(told.stdout)
    assert prefix == str(place.venv)
    site = next(entry for entry in path if entry.startswith(str(place.venv)))
    assert path.index(site) < path.index(str(Path(package).parents[1]))
    assert Path(runtime).resolve() == PYTHON.runtime / "__init__.py"


def test_environments_that_nobody_needs_are_removed(tmp_path: Path) -> None:
    for name in ("kept", "left"):
        (tmp_path / name / "venv").mkdir(parents=True)
    environment.prune(tmp_path, {"kept"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    environment.prune(tmp_path / "none", set())


def test_scripts_get_what_they_may_have_of_the_agents_variables() -> None:
    ours = {"AWS_SECRET_ACCESS_KEY": "x", "PYTHONPATH": "/ours", "LC_ALL": "C", "https_proxy": "http://proxy"}
    ours["PATH"] = os.pathsep.join([f"{sys.prefix}/bin", "/usr/bin", "/bin"])
    got = variables(ours, [Path("/env/bin")], Path("/work"), NOBODY)
    assert got == {
        "LC_ALL": "C",
        "https_proxy": "http://proxy",
        "PATH": "/env/bin:/usr/bin:/bin",
        "HOME": "/work",
        "TMPDIR": "/work",
        "LOGNAME": "somebody",
        "USER": "somebody",
        "PYTHONUNBUFFERED": "1",
    }


@as_root
def test_each_component_has_a_user_that_it_keeps(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    users = Users(file, "n1", None)
    given = {name: users.of(name) for name in ("A", "B", "C")}
    assert len({user.uid for user in given.values() if user is not None and FIRST <= user.uid <= LAST}) == 3
    again = Users(file, "n1", None)
    assert again.of("D") not in given.values()
    assert {name: again.of(name) for name in given} == given
    file.write_text("{")
    assert Users(file, "n1", None).of("A") is not None, "a broken file stops no component"
    assert Users(file, "n1", "nobody").of("A") == Users(file, "n1", "nobody").of("B")
    assert Users(file, "n1", "root").of("A") is None


def test_nobodys_user_id_is_taken_from_another() -> None:
    first = free_uid("n1/A", set())
    assert free_uid("n1/A", {first}) not in (first, free_uid("n2/A", set()))


def test_run_as_must_be_a_user(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("thing: n1\nrun_as: no-such-user\n")
    with pytest.raises(ConfigError, match="run_as: expected a user of this machine"):
        load_config(file)


@as_root
def test_a_view_shows_what_is_needed_through_what_it_covers() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:  # pytest's own folders are closed to others already
        top = Path(made).resolve()
        top.chmod(0o755)
        for folder in ("closed/tree/package", "agent/work", "agent/keys", "free"):
            (top / folder).mkdir(parents=True)
        (top / "closed").chmod(0o700)
        (top / "link").symlink_to(top / "closed/tree")
        package, linked, work = top / "closed/tree/package", top / "link/package", top / "agent/work"
        seen = view(
            NOBODY,
            readable=[Path("/usr"), top / "free", linked, top / "missing"],
            writable=[work],
            hidden=[top / "agent", top / "no"],
        )
        assert seen.covered == (top / "agent", top / "closed")
        assert seen.shown == ((work, True), (package, False)), "what can be reached anyway needs no mount"
        top.chmod(0o700)
        seen = view(NOBODY, readable=[linked], writable=[work], hidden=[top / "agent"])
        assert seen.covered == (top,), "one cover is enough"
        assert seen.shown == ((work, True), (package, False), (linked, False))


@as_root
def test_a_confined_script_has_its_paths_and_no_others(tmp_path: Path) -> None:
    work, package, secret = tmp_path / "work", tmp_path / "package", tmp_path / "secret"
    for folder in (work, package, secret):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
        (folder / "file").chmod(0o644)
    own(work, NOBODY)
    seen = view(NOBODY, readable=[package], writable=[work], hidden=[tmp_path])
    confinement = Confinement(NOBODY, seen, work, {"PATH": "/usr/bin:/bin"})
    script = "id -u; pwd; cat package/../file ../package/file; ls ..; echo x >new; echo x >../package/new"
    command = confinement.command(script, [])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(confinement.variables))
    assert done.stdout.splitlines() == [str(NOBODY.uid), str(work), "packagepackage", "work"], done.stderr
    assert (work / "new").stat().st_uid == NOBODY.uid
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr
    assert not (package / "new").exists()


def test_a_script_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    confinement = Confinement(None, View(), tmp_path / "gone", {})
    done = subprocess.run(confinement.command("true", []), capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr == f"the script is not started: {tmp_path}/gone: No such file or directory\n"
    assert (
        "No such file"
        in subprocess.run(
            replace(confinement, folder=tmp_path).command("true", [tmp_path / "none/cgroup.procs"]),
            capture_output=True,
            text=True,
            check=False,
        ).stderr
    )


def fake_v1(root: Path, *trees: str) -> Group:
    group = Group.split(root / "cpu/n", root / "cpuacct/n", **{tree: root / tree / "n" for tree in trees})
    for path in group.paths.values():
        (path / "c").mkdir(parents=True)
    (root / "cpu/n/cpu.cfs_quota_us").write_text("5000\n")
    (root / "cpu/n/cpu.cfs_period_us").write_text("10000\n")
    return group.child("c")


def test_limits_of_v1(tmp_path: Path) -> None:
    group = fake_v1(tmp_path, "memory", "pids")
    Limits(64 << 20, 0.25, 100).apply(group)
    assert (tmp_path / "memory/n/c/memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
    assert (tmp_path / "cpu/n/c/cpu.cfs_quota_us").read_text() == "2500\n"
    assert (tmp_path / "pids/n/c/pids.max").read_text() == "100\n"
    Limits(None, 4.0, None).apply(group)
    assert (tmp_path / "memory/n/c/memory.limit_in_bytes").read_text() == "-1\n"
    assert (tmp_path / "cpu/n/c/cpu.cfs_quota_us").read_text() == "5000\n", "v1 takes no more than the node has"
    assert (tmp_path / "pids/n/c/pids.max").read_text() == "max\n"
    Limits(cpus=0.02).apply(group)
    assert group.budget_cores() == pytest.approx(0.02)
    for tree in group.paths.values():
        (tree / "launch").mkdir()
    Limits(cpus=1.0).apply(group.child("launch"))
    assert group.child("launch").budget_cores() == pytest.approx(0.02)


def test_a_group_is_paused_where_the_kernel_can(tmp_path: Path) -> None:
    old = fake_v1(tmp_path / "v1", "freezer")
    state = tmp_path / "v1/freezer/n/c/freezer.state"
    old.freeze(True)
    assert state.read_text() == "FROZEN\n"
    old.freeze(False)
    assert state.read_text() == "THAWED\n"
    with pytest.raises(CgroupError, match="tree freezer"):
        fake_v1(tmp_path / "other").freeze(True)

    (tmp_path / "v2").mkdir()
    new = Group.unified(tmp_path / "v2")
    for frozen, word in ((True, "1\n"), (False, "0\n")):
        new.freeze(frozen)
        assert (tmp_path / "v2/cgroup.freeze").read_text() == word


def test_what_a_group_weighs(tmp_path: Path) -> None:
    old = fake_v1(tmp_path / "v1")
    (shares := tmp_path / "v1/cpu/n/c/cpu.shares").write_text("1024\n")
    old.weigh(0.1)
    assert shares.read_text() == "102\n"
    old.weigh(1)
    assert shares.read_text() == "1024\n"

    (tmp_path / "v2/c").mkdir(parents=True)
    new = Group.unified(tmp_path / "v2/c")
    new.weigh(0.1)
    assert (tmp_path / "v2/cgroup.subtree_control").read_text() == "+cpu\n", "the group above is asked to pass it on"
    (weight := tmp_path / "v2/c/cpu.weight").write_text("100\n")
    new.weigh(0.1)
    assert weight.read_text() == "10\n"


def test_a_limit_that_the_nodes_groups_do_not_allow_is_an_error(tmp_path: Path) -> None:
    group = fake_v1(tmp_path)
    Limits(None, None, 100).apply(group)
    with pytest.raises(CgroupError, match="tree `memory`"):
        Limits(64 << 20).apply(group)


def test_limits_of_v2(tmp_path: Path) -> None:
    group = Group.unified(tmp_path)
    Limits().apply(group)
    assert not list(tmp_path.iterdir())
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):
        (tmp_path / name).write_text("max\n")
    Limits(64 << 20, 0.25, 100).apply(group)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "memory.max": f"{64 << 20}\n",
        "memory.swap.max": "0\n",
        "cpu.max": "2500 10000\n",
        "pids.max": "100\n",
    }
    Limits().apply(group)
    assert {file.read_text() for file in tmp_path.iterdir()} == {"max\n"}


def test_v2_asks_the_group_above_for_what_it_limits_by(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(CgroupError, match=r"memory.max"):
        Limits(64 << 20).apply(Group.unified(tmp_path / "c" / "d"))
    Limits(None, None, 100).apply(Group.unified(tmp_path / "c"))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids\n"


def recipe(**step: object) -> Recipe:
    return Recipe.model_validate(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": "A",
            "ComponentVersion": "1.0.0",
            "Manifests": [{"Platform": {"os": "linux"}, "Lifecycle": {"install": {"Script": "true", **step}}}],
        }
    )


def document(**run_with: object) -> DeploymentDocument:
    component = {"componentVersion": "1.0.0", "runWith": run_with}
    source = {"uri": "http://x/r", "sha256": "0" * 64}
    return DeploymentDocument.model_validate(
        {"deploymentId": "d", "components": {"A": component}, "recipes": {"A": source}}
    )


def test_privilege_needs_the_owners_consent() -> None:
    asking = {"A": recipe(RequiresPrivilege=True)}
    with pytest.raises(ResolveError, match=r"A: install with RequiresPrivilege.*allow_privilege"):
        resolve(document(), asking)
    resolve(document(), asking, allow_privilege=True)
    resolve(document(), {"A": recipe()})


def test_another_user_needs_the_owners_consent_and_a_new_launch() -> None:
    wanted = document(posixUser="nobody:nogroup")
    with pytest.raises(ResolveError, match=r"A: runWith posixUser nobody:nogroup.*allow_users"):
        resolve(wanted, {"A": recipe()})
    resolve(wanted, {"A": recipe()}, allow_users=("nobody",))
    before = {"A": Installed(recipe(), "0", {})}
    after = configure(wanted, {"A": recipe()}, before)
    assert after["A"].user == "nobody:nogroup"
    assert plan(before, after).replace == ("A",)


def test_limits_come_with_the_deployment_change_live_and_are_kept(tmp_path: Path) -> None:
    wanted = document(systemResourceLimits={"memory": 65536, "cpus": 0.5}).components["A"].run_with
    before = {"A": Installed(recipe(), "0", {})}
    after = {"A": replace(before["A"], limits=wanted.system_resource_limits)}
    assert after["A"].limits == SystemResourceLimits(memory=65536, cpus=0.5)
    assert plan(before, after).reconfigure == ("A",)
    assert plan(after, after).reconfigure == ()
    store = Store(tmp_path)
    file = store.recipe_file("A", "1.0.0", "0")
    file.parent.mkdir(parents=True)
    file.write_text(recipe().model_dump_json(by_alias=True, exclude_none=True))
    store.save(Record(components=after))
    assert store.load().components["A"].limits == after["A"].limits
