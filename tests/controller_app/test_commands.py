"""What the operator asks for: pins with and without an end, drains, and words for what cannot be done."""

import pytest

from controller.fabric.file import Fabric
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
        fabric, {"resize": "edge2", "old": "edge1"}, {("web", "edge1"), ("web", "edge9")}
    )
    assert intent.holds == {"resize": "edge2"}
    assert intent.drains == {("web", "edge1")}
    assert len(gone) == 2
    assert "no service old" in gone[0]
    assert "no instance on edge9" in gone[1]
