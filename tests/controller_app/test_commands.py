"""What the operator asks for: pins with and without an end, drains, and words for what cannot be done."""

import pytest

from controller.fabric.file import Fabric
from controller.operator.overrides import CommandError, Commands


def test_a_migration_is_let_go_after_the_services_own_dwell(fabric: Fabric) -> None:
    commands = Commands(fabric)
    commands.migrate("resize", "edge2", hold=False, now=100.0)
    commands.migrate("web", "edge1", hold=False, now=100.0)
    assert commands.pins == {"resize": "edge2", "web": "edge1"}
    assert commands.next_expiry() == 101.0

    assert commands.expire(100.999) == []
    assert commands.expire(101.0) == ["resize"]
    assert commands.pins == {"web": "edge1"}
    assert commands.next_expiry() == 103.0
    assert commands.expire(103.0) == ["web"]
    assert commands.next_expiry() is None


def test_a_hold_stays_until_released(fabric: Fabric) -> None:
    commands = Commands(fabric)
    commands.migrate("resize", "edge2", hold=True, now=0.0)
    assert commands.next_expiry() is None
    assert commands.expire(1e9) == []
    assert commands.holds == commands.pins == {"resize": "edge2"}

    assert commands.release("resize")
    assert commands.pins == {}
    assert not commands.release("resize")


def test_the_last_command_counts(fabric: Fabric) -> None:
    commands = Commands(fabric)
    commands.migrate("resize", "edge2", hold=True, now=0.0)
    commands.migrate("resize", "edge1", hold=False, now=5.0)
    assert commands.pins == {"resize": "edge1"}
    assert commands.holds == {}
    assert commands.expire(6.0) == ["resize"]
    assert commands.pins == {}


def test_a_drain_is_told_from_its_repetition(fabric: Fabric) -> None:
    commands = Commands(fabric)
    assert commands.drain("web", "edge1")
    assert not commands.drain("web", "edge1")
    assert commands.drains == {("web", "edge1")}
    assert commands.drain("web", "edge1", undo=True)
    assert not commands.drain("web", "edge1", undo=True)
    assert commands.drains == set()


@pytest.mark.parametrize(
    ("service", "node", "message"),
    [
        ("resise", "edge1", "no service resise in fabric small; services: resize, web"),
        ("resize", "edge3", "service resize has no instance on edge3; it has: edge1, edge2"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(fabric: Fabric, service: str, node: str, message: str) -> None:
    commands = Commands(fabric)
    for command in (
        lambda: commands.migrate(service, node, hold=True, now=0.0),
        lambda: commands.drain(service, node),
    ):
        with pytest.raises(CommandError) as error:
            command()
        assert str(error.value) == message
    assert commands.pins == {}
    assert commands.drains == set()


def test_a_restart_keeps_holds_and_drains_that_the_fabric_still_has(fabric: Fabric) -> None:
    commands, gone = Commands.restored(
        fabric, {"resize": "edge2", "old": "edge1"}, {("web", "edge1"), ("web", "edge9")}
    )
    assert commands.holds == {"resize": "edge2"}
    assert commands.drains == {("web", "edge1")}
    assert len(gone) == 2
    assert "no service old" in gone[0]
    assert "no instance on edge9" in gone[1]
