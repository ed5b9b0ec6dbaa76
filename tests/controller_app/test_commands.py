"""What the operator asks for: pins with and without an end, drains, and words for what cannot be done."""

import pytest

from controller.fabric.file import Fabric
from controller.operator import sentences
from controller.operator.overrides import CommandError, OperatorIntent


def test_a_migration_is_let_go_after_the_services_own_dwell(fabric: Fabric) -> None:
    intent = OperatorIntent(fabric)
    intent.migrate("resize", "edge2", hold=False, now=100.0)
    intent.migrate("web", "edge1", hold=False, now=100.0)
    assert intent.pins == {"resize": "edge2", "web": "edge1"}
    assert intent.next_expiry() == 101.0

    assert intent.expire(100.999) == []
    assert intent.expire(101.0) == ["resize"]
    assert intent.pins == {"web": "edge1"}
    assert intent.next_expiry() == 103.0
    assert intent.expire(103.0) == ["web"]
    assert intent.next_expiry() is None


def test_a_hold_stays_until_released(fabric: Fabric) -> None:
    intent = OperatorIntent(fabric)
    intent.migrate("resize", "edge2", hold=True, now=0.0)
    assert intent.next_expiry() is None
    assert intent.expire(1e9) == []
    assert intent.holds == intent.pins == {"resize": "edge2"}

    assert intent.release("resize")
    assert intent.pins == {}
    assert not intent.release("resize")


def test_the_last_command_counts(fabric: Fabric) -> None:
    intent = OperatorIntent(fabric)
    intent.migrate("resize", "edge2", hold=True, now=0.0)
    intent.migrate("resize", "edge1", hold=False, now=5.0)
    assert intent.pins == {"resize": "edge1"}
    assert intent.holds == {}
    assert intent.expire(6.0) == ["resize"]
    assert intent.pins == {}


def test_a_drain_is_told_from_its_repetition(fabric: Fabric) -> None:
    intent = OperatorIntent(fabric)
    assert intent.drain("web", "edge1")
    assert not intent.drain("web", "edge1")
    assert intent.drains == {("web", "edge1")}
    assert intent.drain("web", "edge1", undo=True)
    assert not intent.drain("web", "edge1", undo=True)
    assert intent.drains == set()


@pytest.mark.parametrize(
    ("service", "node", "message"),
    [
        ("resise", "edge1", "no service resise in fabric small; services: resize, web"),
        ("resize", "edge3", "service resize has no instance on edge3; it has: edge1, edge2"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(fabric: Fabric, service: str, node: str, message: str) -> None:
    intent = OperatorIntent(fabric)
    for command in (
        lambda: intent.migrate(service, node, hold=True, now=0.0),
        lambda: intent.drain(service, node),
    ):
        with pytest.raises(CommandError) as error:
            command()
        assert str(error.value) == message
    assert intent.pins == {}
    assert intent.drains == set()


def test_a_restart_keeps_holds_and_drains_that_the_fabric_still_has(fabric: Fabric) -> None:
    intent, gone = OperatorIntent.restored(
        fabric, {"resize": "edge2", "old": "edge1"}, {("web", "edge1"), ("web", "edge9")}, {"edge1", "edge8"}
    )
    assert intent.excluded == {"edge1"}
    assert intent.holds == {"resize": "edge2"}
    assert intent.drains == {("web", "edge1")}
    assert len(gone) == 3
    assert "no node edge8" in gone[0]
    assert "no service old" in gone[1]
    assert "no instance on edge9" in gone[2]


def test_an_excluded_node_takes_no_pin_and_is_let_go_of(fabric: Fabric) -> None:
    intent = OperatorIntent(fabric)
    intent.migrate("resize", "edge2", hold=True, now=0.0)
    intent.migrate("web", "edge1", hold=True, now=0.0)
    assert intent.exclude("edge2") == ["resize"]
    assert intent.exclude("edge2") is None, "it is excluded already"
    assert intent.pins == {"web": "edge1"}
    with pytest.raises(CommandError, match="edge2 is excluded; hitless include edge2"):
        intent.migrate("resize", "edge2", hold=False, now=0.0)
    assert intent.left_alone() == []
    assert intent.exclude("edge1") == ["web"]
    assert intent.left_alone() == ["resize", "web"]
    assert intent.include("edge2")
    assert not intent.include("edge2")
    with pytest.raises(CommandError, match="no node edge9 in fabric small; nodes: edge1, edge2"):
        intent.exclude("edge9")


def test_answers_say_what_happens_and_what_it_waits_for(fabric: Fabric) -> None:
    intent = OperatorIntent(fabric)
    moved = intent.migrate("web", "edge2", hold=False, now=0.0)
    held = intent.migrate("web", "edge2", hold=True, now=0.0)
    assert sentences.migrated(moved, "edge1", None) == "to edge2, kept there for 3 s (host was edge1)"
    assert (
        sentences.migrated(held, None, "s1 is away")
        == "to edge2, kept there until released (host was unknown), as soon as it is back: s1 is away"
    )
    assert sentences.released(None) == "let go"
    assert sentences.released("s1 is away", dwell_over=True) == "dwell over, let go, as soon as it is back: s1 is away"
    assert sentences.keys_rotated(1, 3) == "new keys for 1 instances; 2 still wait for their node or a switch"
    assert sentences.answer("let go", "web") == "web: let go"
    assert sentences.answer("takes no new work", "web", "edge1") == "web on edge1: takes no new work"
    assert sentences.answer("new keys for 4 instances", None) == "all services: new keys for 4 instances"


@pytest.mark.parametrize(
    ("undo", "broker_error", "online", "pinned", "outcome"),
    [
        (False, None, True, False, "takes no new work"),
        (True, None, True, True, "takes new work again"),
        (False, None, False, False, "takes no new work, as soon as the node is online"),
        (False, "refused", False, False, "takes no new work, as soon as the broker is back (refused)"),
        (
            False,
            None,
            True,
            True,
            "takes no new work; but it is pinned there, which comes first: hitless release web",
        ),
    ],
)
def test_a_drain_says_whom_it_waits_for_and_what_comes_first(
    undo: bool, broker_error: str | None, online: bool, pinned: bool, outcome: str
) -> None:
    told = sentences.drained("web", undo=undo, broker_error=broker_error, online=online, pinned=pinned)
    assert told == outcome
