"""The fabric file: what is accepted, and what every kind of mistake is told as."""

from pathlib import Path

import pytest

from controller.authority.plan import subjects
from controller.fabric.file import Fabric, FabricError, load
from hitless.steering.policies import Single

ROOT = Path(__file__).parents[2]
FABRIC = Path(__file__).with_name("fabric.yaml")


def changed(tmp_path: Path, *replacements: tuple[str, str]) -> Path:
    text = FABRIC.read_text()
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "fabric.yaml"
    path.write_text(text)
    return path


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def complaints(path: Path) -> list[str]:
    with pytest.raises(FabricError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_the_example_that_users_copy_is_right() -> None:
    assert load(ROOT / "topologies" / "pair.yaml").name == "pair"


def test_a_fabric_is_read_whole() -> None:
    fabric = load(FABRIC)
    assert isinstance(fabric, Fabric)
    assert fabric.name == "pair"
    preprocess = fabric.services["preprocess"]
    assert (preprocess.service_id, preprocess.index, str(preprocess.address), preprocess.port) == (
        1,
        1,
        "10.96.0.1",
        9000,
    )
    assert preprocess.policy == Single(margin=400, dwell=3_000_000)
    assert (preprocess.score.cpu, preprocess.score.memory, preprocess.score.interval) == (0, 31, 31)
    assert {name: instance.member for name, instance in preprocess.instances.items()} == {"edge1": 0, "edge2": 1}
    assert fabric.services["thumbnail"].protocol == "tcp"
    assert fabric.service_at(2) == "detect"
    assert fabric.node_with_id(2) == "edge2"
    assert preprocess.node_of(1) == "edge2"
    assert preprocess.node_of(9) is None


def test_credentials_are_relative_to_the_file(tmp_path: Path) -> None:
    path = changed(tmp_path, ("port: 1883}", "port: 1883, credentials: secrets/controller.json}"))
    assert load(path).broker.credentials == str(tmp_path / "secrets" / "controller.json")


@pytest.mark.parametrize(
    ("old", "new", "field", "expected"),
    [
        ("node_id: 2,", "node_id: 1,", "nodes.edge2.node_id", "node id 1 is taken by nodes.edge1.node_id"),
        ("port: 3, address", "port: 2, address", "hosts.edge2.port", "port 2 of s1 is taken by hosts.edge1.port"),
        ("10.0.0.12", "10.0.0.11", "hosts.edge2.address", "10.0.0.11 is taken by hosts.edge1.address"),
        ("02:00:00:00:00:12", "02:00:00:00:00:11", "hosts.edge2.mac", "is taken by hosts.edge1.mac"),
        ("10.0.0.254", "10.0.0.11", "hosts.edge1.address", "is taken by gateway.address"),
        ("ctrl:   {switch: s1", "ctrl:   {switch: s9", "hosts.ctrl.switch", "expected the name of a switch (s1)"),
        ("  edge2: {node_id", "  edge9: {node_id", "nodes.edge9", "expected the name of a host"),
        ("service_id: 2", "service_id: 1", "services.detect.service_id", "service id 1 is taken by"),
        ("index: 2", "index: 1", "services.detect.index", "index 1 is taken by services.preprocess.index"),
        ("port: 9001", "port: 9000", "services.detect.port", "udp port 9000 on edge1 is taken by services.preprocess"),
        ("10.96.0.2", "10.97.0.2", "services.detect.address", "expected an address in 10.96.0.0/16"),
        ("10.96.0.2", "10.96.255.254", "services.detect.address", "where reports go"),
        ("10.0.0.12", "10.96.7.7", "hosts.edge2.address", "expected an address outside 10.96.0.0/16"),
        (
            "10.0.0.12",
            "127.0.0.9",
            "hosts.edge2.address",
            "the address of a machine: nothing may come from 127.0.0.0/8",
        ),
        ("address: 10.96.255.254", "address: 10.0.7.7", "reports.address", "expected an address in 10.96.0.0/16"),
        ("edge2: {member: 1", "edge2: {member: 0", "services.preprocess.instances.edge2.member", "member 0 is taken"),
        ("member: 1", "member: 64", "services.preprocess.instances.edge2.member", "expected less than 64, got 64"),
        (
            "member: 1, generation: 1",
            "member: 1, generation: 0",
            "services.preprocess.instances.edge2.generation",
            "expected greater than or equal to 1, got 0",
        ),
        ("edge2: {member", "client: {member", "services.preprocess.instances.client", "expected the name of a node"),
        ("affinity: flow", "affinity: request", "services.thumbnail.affinity", "expected flow, as for every TCP"),
        (
            "affinity: request",
            "affinity: sticky",
            "services.preprocess.affinity",
            "expected 'none', 'flow' or 'request'",
        ),
        ("dead_after_ms: 2000", "dead_after_ms: 100", "services.preprocess.dead_after_ms", "at least stale_after_ms"),
        ("stale_after_ms: 200 ", "stale_after_ms: 15", "services.preprocess.stale_after_ms", "two report intervals"),
        (
            "{single: {margin: 400, dwell_ms: 3000}}",
            "{}",
            "services.preprocess.policy",
            "exactly one of single, spread",
        ),
        (
            "{single: {margin: 400, dwell_ms: 3000}}",
            "{pinned: {node: client}}",
            "services.preprocess.policy.pinned.node",
            "expected the name of a node with an instance (edge1, edge2), got 'client'",
        ),
        ("cpu: 0,", "cpu: 17,", "services.preprocess.score.cpu", "expected a left shift from 0 to 16, or off, got 17"),
        ("on_no_live: last", "on_no_live: first", "services.preprocess.on_no_live", "expected last, drop or {fallback"),
        ("on_no_live: last", "on_no_live: {fallback: 10.0.9.9}", "services.preprocess.on_no_live", "one of the hosts"),
        (
            "port: 1, address: 10.0.0.1,",
            "port: 1, address: 10.0.0,",
            "hosts.client.address",
            "expected an IPv4 address",
        ),
        ('"02:00:00:00:00:01"', '"02:00:00:00:01"', "hosts.client.mac", "expected a MAC address such as"),
        ('"02:00:00:00:00:01"', '"03:00:00:00:00:01"', "hosts.client.mac", "not of a group"),
        ('"192.168.255.1:9559"', "192.168.255.1", "switches.s1.p4runtime", "expected host:port such as"),
        ("port: 4,", "port: 510,", "hosts.ctrl.port", "expected less than or equal to 509, got 510"),
        ("idle_after_ms", "idle_after", "services.preprocess.idle_after", "unknown field"),
        ("    component: org.hitless.examples.Detect\n", "", "services.detect.component", "missing"),
        ("port: 9600", "port: nine", "reports.port", "expected a valid integer, got 'nine'"),
    ],
)
def test_a_mistake_is_told_by_line_field_and_what_was_expected(
    tmp_path: Path, old: str, new: str, field: str, expected: str
) -> None:
    path = changed(tmp_path, (old, new))
    told = complaints(path)
    assert any(f": {field}" in complaint and expected in complaint for complaint in told), told
    assert all(complaint.startswith(f"{path}:") for complaint in told)


def test_the_line_is_the_mistaken_fields_own(tmp_path: Path) -> None:
    path = changed(tmp_path, ("address: 10.96.0.2", "address: 10.97.0.2"))
    (told,) = complaints(path)
    assert told.startswith(f"{path}:{line_of(path, '10.97.0.2')}: services.detect.address: ")


@pytest.mark.parametrize(
    ("triggers", "told"),
    [
        ("one: {topic: a, delivery: twice}", "triggers.one.delivery: expected 'at_least_once' or 'at_most_once'"),
        ('one: {schedule: "61 * * * *", delivery: at_most_once}', "triggers.one.schedule: expected five fields"),
        ("one: {topic: hitless/#, delivery: at_most_once}", "triggers.one.topic: expected a first level"),
        (
            "one: {topic: a, path: /x, delivery: at_most_once}",
            "triggers.one.path: expected none for a service over udp",
        ),
        (
            "one: {topic: a/#, delivery: at_most_once}, two: {topic: a/b, delivery: at_most_once}",
            "triggers.two.topic: expected topics that one (a/#) does not have",
        ),
    ],
)
def test_a_wrong_trigger_is_told_with_its_line(tmp_path: Path, triggers: str, told: str) -> None:
    path = changed(tmp_path, ("    flow_weight: 1 ", f"    triggers: {{{triggers}}}\n    flow_weight: 1 "))
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}:{line_of(path, 'triggers:')}: services.preprocess.{told}")


def test_a_service_with_triggers_has_an_identity_for_them(tmp_path: Path) -> None:
    trigger = 'night: {schedule: "0 3 * * *", time_zone: Europe/Berlin, delivery: at_least_once}'
    path = changed(tmp_path, ("    flow_weight: 1 ", f"    triggers: {{{trigger}}}\n    flow_weight: 1 "))
    names = [one.name for one in subjects(load(path))]
    assert "trigger-preprocess" in names and "trigger-detect" not in names
    path = changed(tmp_path, ("  edge1: {node_id", "  trigger-web: {node_id"))
    assert any("on the bus, trigger-web is a service's triggers'" in told for told in complaints(path))


def test_services_at_one_address_need_different_ports(tmp_path: Path) -> None:
    path = changed(tmp_path, ("10.96.0.2", "10.96.0.1"), ("port: 9001", "port: 9000"))
    told = complaints(path)
    assert any("services.detect.address: 10.96.0.1 udp 9000 is taken by services.preprocess.address" in t for t in told)


def test_all_mistakes_are_told_at_once_in_the_files_order(tmp_path: Path) -> None:
    path = changed(tmp_path, ("node_id: 2,", "node_id: 1,"), ("index: 3", "index: 2"), ("10.0.0.12", "10.0.0.11"))
    told = complaints(path)
    assert len(told) == 3
    lines = [int(complaint.removeprefix(f"{path}:").split(":")[0]) for complaint in told]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fabric: [", "not YAML"),
        ("- a\n- b\n", "expected a mapping"),
        ("fabric: a\nfabric: b\n", "fabric"),
    ],
)
def test_what_is_no_fabric_at_all(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "fabric.yaml"
    path.write_text(text)
    told = complaints(path)
    assert expected in told[0]
    assert told[0].startswith(f"{path}:")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path / "none.yaml")
    assert "cannot be read" in told
