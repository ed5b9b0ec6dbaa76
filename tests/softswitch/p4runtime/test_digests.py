"""Digest lists against the specification's section "DigestEntry"."""

from __future__ import annotations

from softswitch.p4runtime.entities.digests import DigestBatch, DigestConfig, DigestLists

A, B, C = (1, 1), (2, 2), (3, 3)


def lists(timeout: int = 0, size: int = 0, ack: int = 0) -> DigestLists:
    digests = DigestLists()
    digests.enable(7, DigestConfig(timeout, size, ack))
    return digests


def test_not_enabled_means_not_reported() -> None:
    assert DigestLists().add(7, A, 0) is None


def test_without_timeout_each_message_goes_at_once() -> None:
    digests = lists(timeout=0, size=10)
    assert digests.add(7, A, 0) == DigestBatch(7, 1, (A,))
    assert digests.add(7, A, 1) == DigestBatch(7, 2, (A,))


def test_list_closes_when_full_of_distinct_messages() -> None:
    digests = lists(timeout=1000, size=2)
    assert digests.add(7, A, 0) is None
    assert digests.add(7, A, 1) is None
    assert digests.add(7, B, 2) == DigestBatch(7, 1, (A, B))
    assert digests.deadline() is None


def test_list_closes_when_its_first_message_has_waited() -> None:
    digests = lists(timeout=100)
    digests.add(7, A, 10)
    digests.add(7, B, 60)
    assert digests.deadline() == 110
    assert digests.due(109) == []
    assert digests.due(110) == [DigestBatch(7, 1, (A, B))]
    assert digests.due(500) == []


def test_unacknowledged_message_is_held_back_until_acknowledged() -> None:
    digests = lists(ack=1000)
    assert digests.add(7, A, 0) == DigestBatch(7, 1, (A,))
    assert digests.add(7, A, 10) is None
    assert digests.add(7, B, 20) == DigestBatch(7, 2, (B,))
    digests.acknowledge(7, 1)
    assert digests.add(7, A, 30) == DigestBatch(7, 3, (A,))
    assert digests.add(7, B, 40) is None


def test_unacknowledged_message_is_held_back_no_longer_than_the_ack_timeout() -> None:
    digests = lists(ack=1000)
    digests.add(7, A, 0)
    assert digests.add(7, A, 999) is None
    assert digests.add(7, A, 1000) == DigestBatch(7, 2, (A,))


def test_another_primary_hears_everything() -> None:
    digests = lists(ack=1000)
    digests.add(7, A, 0)
    digests.forget_unacknowledged()
    assert digests.add(7, A, 1) == DigestBatch(7, 2, (A,))


def test_disabled_digest_loses_what_it_gathered() -> None:
    digests = lists(timeout=100)
    digests.add(7, A, 0)
    digests.disable(7)
    assert digests.due(1000) == []
    assert digests.add(7, C, 1001) is None


def test_acknowledging_the_unknown_is_harmless() -> None:
    digests = lists(ack=1000)
    digests.acknowledge(7, 99)
    digests.acknowledge(8, 1)
