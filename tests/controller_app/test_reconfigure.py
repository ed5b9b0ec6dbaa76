"""Deciding without a switch: by metrics, by their absence, by presence, by the operator, and after a restart."""

import pytest

from controller.fabric.file import Fabric
from controller.steering.decisions import Decision, Reconfiguration
from hitless.steering.policies import POLICIES, Policy
from hitless.wire.report import Report
from hitless.words import MemberStatus, Reason

MS = 1000


class Nodes:
    """Makes the metrics of both nodes, 10 ms apart, on a clock of its own."""

    def __init__(self, fabric: Fabric, reconfiguration: Reconfiguration) -> None:
        self.now = 1_000_000
        self._fabric = fabric
        self._reconfiguration = reconfiguration
        self._sequence = 0

    def speak(self, service: str = "web", *, ms: int = 10, **cpu: int) -> list[Decision]:
        """For so many milliseconds these nodes tell this foreign cpu use; returns what is decided."""
        decisions: list[Decision] = []
        for _ in range(ms // 10):
            self.now += 10 * MS
            self._sequence += 1
            for node, use in cpu.items():
                report = Report(
                    service_id=self._fabric.services[service].service_id,
                    node_id=self._fabric.nodes[node].node_id,
                    epoch=1,
                    sequence=self._sequence,
                    ready=True,
                    cpu=use,
                )
                decisions += self._reconfiguration.report(self.now, service, node, report)
            decisions += self._reconfiguration.tick(self.now)
        return decisions


def moves(decisions: list[Decision]) -> list[tuple[str, str | None, str]]:
    return [(one.reason.name, one.before, one.host) for one in decisions]


@pytest.fixture
def reconfiguration(fabric: Fabric) -> Reconfiguration:
    return Reconfiguration(fabric, {})


@pytest.fixture
def nodes(fabric: Fabric, reconfiguration: Reconfiguration) -> Nodes:
    return Nodes(fabric, reconfiguration)


def test_the_first_to_speak_is_the_host_and_a_better_one_follows_after_the_dwell(
    reconfiguration: Reconfiguration, nodes: Nodes
) -> None:
    assert moves(nodes.speak(edge1=500)) == [("FIRST", None, "edge1")]
    assert reconfiguration.hosts == {"web": "edge1", "resize": None}
    assert nodes.speak(ms=2500, edge1=500, edge2=0) == [], "the dwell is 3 s"
    (move,) = nodes.speak(ms=600, edge1=500, edge2=0)
    assert (move.reason, move.before, move.host) == (Reason.BETTER, "edge1", "edge2")
    assert (move.before_rank, move.rank) == (65535 - 500, 65535)
    assert move.node in ("edge1", "edge2")
    assert move.epoch == 1


@pytest.mark.parametrize("policy", [one for one in POLICIES if not one.one_host])
def test_a_service_whose_work_would_be_shared_has_one_host_at_a_time(fabric: Fabric, policy: type[Policy]) -> None:
    web = fabric.services["web"].model_copy(update={"policy": policy()})
    shared = fabric.model_copy(update={"services": {"web": web}})
    nodes = Nodes(shared, Reconfiguration(shared, {}))
    assert moves(nodes.speak(edge1=500)) == [("FIRST", None, "edge1")]
    assert moves(nodes.speak(ms=4000, edge1=500, edge2=0)) == [("BETTER", "edge1", "edge2")]


def test_a_difference_within_the_margin_moves_nothing(nodes: Nodes) -> None:
    nodes.speak(edge1=400)
    assert nodes.speak(ms=10_000, edge1=400, edge2=0) == []


def test_a_silent_host_is_left_when_it_is_stale_and_not_before(nodes: Nodes) -> None:
    nodes.speak(ms=100, edge1=0, edge2=100)
    assert nodes.speak(ms=200, edge2=100) == []
    assert moves(nodes.speak(ms=20, edge2=100)) == [("STALE", "edge1", "edge2")]


def test_a_host_that_leaves_the_broker_is_left_at_once_and_may_come_back(
    reconfiguration: Reconfiguration, nodes: Nodes
) -> None:
    nodes.speak(edge1=0, edge2=100)
    (move,) = reconfiguration.presence(nodes.now + 1, "edge1", False)
    assert (move.before, move.host, move.node) == ("edge1", "edge2", None)
    assert reconfiguration.presence(nodes.now + 2, "edge1", False) == [], "a duplicate"
    assert nodes.speak(ms=4000, edge1=0, edge2=900) == [], "who is gone is not listened to"
    assert reconfiguration.presence(nodes.now, "edge1", True) == []
    assert moves(nodes.speak(ms=4000, edge1=0, edge2=900)) == [("BETTER", "edge2", "edge1")]


def test_when_the_other_node_leaves_nothing_moves(reconfiguration: Reconfiguration, nodes: Nodes) -> None:
    nodes.speak(edge1=0, edge2=100)
    assert reconfiguration.presence(nodes.now, "edge2", False) == []
    assert reconfiguration.hosts["web"] == "edge1"


def test_a_pin_moves_at_once_and_letting_go_moves_nothing(reconfiguration: Reconfiguration, nodes: Nodes) -> None:
    nodes.speak(edge1=0, edge2=900)
    assert moves(reconfiguration.override(nodes.now, {"web": "edge2"})) == [("PINNED", "edge1", "edge2")]
    assert nodes.speak(ms=5000, edge1=0, edge2=900) == []
    assert reconfiguration.override(nodes.now, {}) == []
    assert moves(nodes.speak(ms=100, edge1=0, edge2=900)) == [("BETTER", "edge2", "edge1")]


def test_an_excluded_host_is_left_at_once_and_heard_again_when_included(
    reconfiguration: Reconfiguration, nodes: Nodes
) -> None:
    nodes.speak(edge1=0, edge2=900)
    (move,) = reconfiguration.override(nodes.now, {}, {"edge1"})
    assert (move.before, move.host) == ("edge1", "edge2")
    assert nodes.speak(ms=4000, edge1=0, edge2=900) == [], "who is excluded is not listened to"
    assert reconfiguration.override(nodes.now, {}) == []
    assert moves(nodes.speak(ms=4000, edge1=0, edge2=900)) == [("BETTER", "edge2", "edge1")]


def test_a_restarted_controller_leaves_a_service_where_it_is(reconfiguration: Reconfiguration, nodes: Nodes) -> None:
    reconfiguration.adopt("web", "edge2")
    assert reconfiguration.hosts["web"] == "edge2"
    assert nodes.speak(ms=50, edge1=0) == [], "the host of before may speak up yet"
    assert moves(nodes.speak(edge1=0, edge2=300)) == [("FIRST", None, "edge2")]


def test_a_host_of_before_that_stays_silent_is_not_waited_for_long(
    reconfiguration: Reconfiguration, nodes: Nodes
) -> None:
    reconfiguration.adopt("web", "edge2")
    assert moves(nodes.speak(ms=300, edge1=0)) == [("FIRST", None, "edge1")]
    assert reconfiguration.hosts["web"] == "edge1"


def test_metrics_under_anothers_name_count_for_nobody(reconfiguration: Reconfiguration, fabric: Fabric) -> None:
    report = Report(service_id=fabric.services["web"].service_id, node_id=1, epoch=1, sequence=1, ready=True)
    assert reconfiguration.report(0, "web", "edge2", report) == []
    assert reconfiguration.report(0, "resize", "edge1", report) == []
    assert reconfiguration.report(0, "nothing", "edge1", report) == []
    assert set(reconfiguration.hosts.values()) == {None}


def test_what_is_believed_can_be_seen(reconfiguration: Reconfiguration, nodes: Nodes) -> None:
    nodes.speak(edge1=500)
    views = reconfiguration.views(nodes.now + 7 * MS)
    seen = views["web", "edge1"]
    assert (seen.status, seen.rank, seen.age_us, seen.epoch, seen.sequence) == (
        MemberStatus.READY,
        65535 - 500,
        7 * MS,
        1,
        1,
    )
    assert (views["web", "edge2"].status, views["web", "edge2"].age_us) == (MemberStatus.ABSENT, None)
