"""A service that is added to a running fabric takes what nothing has, and stands in a fabric file as it is written."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.fabric import additions
from controller.fabric.additions import AdditionError
from controller.fabric.file import Fabric, load
from hitless.component.endpoint import ServiceProtocol
from tests.docs.commands import ROOT

PAIR = ROOT / "topologies" / "pair.yaml"


@pytest.fixture(scope="module")
def pair() -> Fabric:
    return load(PAIR)


@given(
    st.lists(st.sampled_from(["tcp", "udp"]), min_size=1, max_size=5),
    st.lists(st.sampled_from(["edge1", "edge2"]), min_size=1, max_size=3),
)
def test_any_number_of_services_fits_in_one_after_the_other(
    pair: Fabric, protocols: list[ServiceProtocol], nodes: list[str]
) -> None:
    fabric = pair
    for number, protocol in enumerate(protocols):
        entry = additions.added(fabric, f"new{number}", "org.example.New", protocol, nodes)
        fabric = additions.with_service(fabric, f"new{number}", entry)  # which looks for contradictions
    added = [fabric.services[f"new{number}"] for number in range(len(protocols))]
    assert [service.protocol for service in added] == protocols
    assert min(service.service_id for service in added) > max(one.service_id for one in pair.services.values())
    assert all(list(service.instances) == list(dict.fromkeys(nodes)) for service in added)
    assert fabric.services.keys() >= pair.services.keys()


@given(st.sets(st.integers(1, 20), max_size=20), st.integers(1, 20))
def test_a_number_is_one_that_nobody_has(taken: set[int], last: int) -> None:
    try:
        number = additions.next_number(taken, 1, last, "id")
    except AdditionError:
        assert taken >= set(range(1, last + 1))
    else:
        assert number not in taken and 1 <= number <= last
        assert number > max(taken, default=0) or max(taken) >= last, "numbers that were had before are not had again"


@given(st.sets(st.integers(1, 300), max_size=40))
def test_an_address_is_one_that_nobody_has(taken: set[int]) -> None:
    addresses = {IPv4Address("10.96.0.0") + number for number in taken}
    assert additions.free_address(addresses) not in addresses


def test_what_is_kept_is_the_service_as_it_was_added(pair: Fabric, tmp_path: Path) -> None:
    entry = additions.added(pair, "greet", "org.example.Greet", "tcp", ["edge1", "edge2"])
    text = additions.written("greet", entry)
    assert text.startswith("services:\n  greet:\n    service_id: ")
    path = tmp_path / "pair.yaml"
    path.write_text(PAIR.read_text() + "\n" + text.removeprefix("services:\n"))
    assert load(path).services["greet"] == additions.with_service(pair, "greet", entry).services["greet"]


@pytest.mark.parametrize(
    ("name", "nodes", "port", "problem"),
    [
        ("detect", ["edge1"], None, "service detect is there and has the component org.hitless.examples.Detect"),
        ("greet", [], None, r"say with --node on which nodes it is to be one \(edge1, edge2\)"),
        ("greet", ["edge9"], None, "no node edge9 in fabric pair; nodes: edge1, edge2"),
        ("greet", ["edge1"], 9001, "udp port 9001 is detect's"),
        ("a b", ["edge1"], None, "service a b: "),
    ],
)
def test_what_cannot_be_added_is_refused_with_the_reason(
    pair: Fabric, name: str, nodes: list[str], port: int | None, problem: str
) -> None:
    with pytest.raises(AdditionError, match=problem):
        additions.added(pair, name, "org.example.Greet", "udp", nodes, port)


def test_a_service_that_contradicts_the_file_is_refused(pair: Fabric) -> None:
    entry = additions.added(pair, "greet", "org.example.Greet", "udp", ["edge1"])
    with pytest.raises(AdditionError, match=r"service id 2 is taken by services\.detect\.service_id"):
        additions.with_service(pair, "greet", {**entry, "service_id": 2})
    with pytest.raises(AdditionError, match=r"services\.greet: port: "):
        additions.with_service(pair, "greet", {**entry, "port": 0})
