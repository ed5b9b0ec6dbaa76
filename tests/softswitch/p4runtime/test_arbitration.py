"""Arbitration against the rules of the specification's "Client Arbitration and Controller Replication"."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from softswitch.p4runtime.arbitration import MAX_STREAMS_PER_ROLE, Arbitration, Notification
from softswitch.p4runtime.errors import P4RuntimeError


@pytest.fixture
def arbitration() -> Arbitration:
    return Arbitration(device_id=1)


def refusal(arbitration: Arbitration, stream: str, device_id: int, role: str, election_id: int | None) -> StatusCode:
    with pytest.raises(P4RuntimeError) as caught:
        arbitration.update(stream, device_id, role, election_id)
    return caught.value.code


def test_first_controller_becomes_primary(arbitration: Arbitration) -> None:
    assert arbitration.update("a", 1, "", 5) == [Notification("a", "", 5, StatusCode.OK)]
    assert arbitration.is_primary("a")


def test_lower_id_becomes_backup_and_alone_hears_of_it(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    assert arbitration.update("b", 1, "", 4) == [Notification("b", "", 5, StatusCode.ALREADY_EXISTS)]


def test_higher_id_takes_over_and_the_new_primary_hears_last(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    arbitration.update("b", 1, "", 4)
    assert arbitration.update("c", 1, "", 6) == [
        Notification("a", "", 6, StatusCode.ALREADY_EXISTS),
        Notification("b", "", 6, StatusCode.ALREADY_EXISTS),
        Notification("c", "", 6, StatusCode.OK),
    ]


def test_primary_leaves_and_no_backup_is_promoted(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    arbitration.update("b", 1, "", 4)
    assert arbitration.leave("a") == [Notification("b", "", 5, StatusCode.NOT_FOUND)]
    assert arbitration.primary("") is None
    # A backup's old id is below the highest ever seen: it stays backup until it comes with that one.
    assert arbitration.update("b", 1, "", 4) == [Notification("b", "", 5, StatusCode.NOT_FOUND)]
    assert arbitration.update("b", 1, "", 5) == [Notification("b", "", 5, StatusCode.OK)]


def test_backup_leaves_unheard(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    arbitration.update("b", 1, "", 4)
    assert arbitration.leave("b") == []


def test_primary_downgrades_itself_and_all_hear_of_it(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    arbitration.update("b", 1, "", 4)
    assert arbitration.update("a", 1, "", 3) == [
        Notification("a", "", 5, StatusCode.NOT_FOUND),
        Notification("b", "", 5, StatusCode.NOT_FOUND),
    ]


def test_unset_id_never_becomes_primary(arbitration: Arbitration) -> None:
    assert arbitration.update("a", 1, "", None) == [Notification("a", "", None, StatusCode.NOT_FOUND)]
    assert arbitration.update("b", 1, "", 0)[-1] == Notification("b", "", 0, StatusCode.OK)
    assert arbitration.update("c", 1, "", None) == [Notification("c", "", 0, StatusCode.ALREADY_EXISTS)]


def test_ids_have_128_bits(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 1 << 64)
    assert arbitration.update("b", 1, "", (1 << 64) - 1)[0].status is StatusCode.ALREADY_EXISTS


def test_live_id_cannot_be_used_twice(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    assert refusal(arbitration, "b", 1, "", 5) is StatusCode.INVALID_ARGUMENT
    arbitration.leave("a")
    assert arbitration.update("b", 1, "", 5)[-1].status is StatusCode.OK


def test_repeating_ones_own_id_is_no_duplicate(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    assert arbitration.update("a", 1, "", 5) == [Notification("a", "", 5, StatusCode.OK)]


def test_roles_have_primaries_of_their_own(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    assert arbitration.update("b", 1, "acl", 5) == [Notification("b", "acl", 5, StatusCode.OK)]
    assert arbitration.primaries() == ["a", "b"]
    arbitration.check_write(1, "acl", 5)


def test_unknown_device(arbitration: Arbitration) -> None:
    assert refusal(arbitration, "a", 2, "", 5) is StatusCode.NOT_FOUND


def test_live_controller_changes_neither_device_nor_role(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    assert refusal(arbitration, "a", 2, "", 5) is StatusCode.FAILED_PRECONDITION
    assert refusal(arbitration, "a", 1, "acl", 5) is StatusCode.FAILED_PRECONDITION


def test_streams_are_limited(arbitration: Arbitration) -> None:
    for stream in range(MAX_STREAMS_PER_ROLE):
        arbitration.update(stream, 1, "", stream)
    assert refusal(arbitration, "one more", 1, "", 1000) is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("device_id", "role", "election_id", "code"),
    [
        (2, "", 5, StatusCode.NOT_FOUND),
        (1, "never seen", 5, StatusCode.NOT_FOUND),
        (1, "", 4, StatusCode.PERMISSION_DENIED),
        (1, "", 6, StatusCode.PERMISSION_DENIED),
        (1, "", None, StatusCode.PERMISSION_DENIED),
    ],
)
def test_only_the_primary_writes(
    arbitration: Arbitration, device_id: int, role: str, election_id: int | None, code: StatusCode
) -> None:
    arbitration.update("a", 1, "", 5)
    arbitration.update("b", 1, "", 4)
    with pytest.raises(P4RuntimeError) as caught:
        arbitration.check_write(device_id, role, election_id)
    assert caught.value.code is code


def test_nobody_writes_after_the_primary_left(arbitration: Arbitration) -> None:
    arbitration.update("a", 1, "", 5)
    arbitration.leave("a")
    with pytest.raises(P4RuntimeError) as caught:
        arbitration.check_write(1, "", 5)
    assert caught.value.code is StatusCode.PERMISSION_DENIED
