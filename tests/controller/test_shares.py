"""Services share the flow store by weight; a change of shares keeps flows; a share that fills up is told."""

import io
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from controller.fabric.file import load
from controller.fabric.schema import Fabric
from controller.fabric.shares import shares
from controller.observe.events import ShareEvent
from controller.operator import sentences, tables
from controller.operator.status import View, status
from controller.steering.in_network import share_events
from controller.steering.interface import Observation
from controller.switches.entries import Act, Place, desired_entries
from controller.switches.shares import LONGEST_S, SAMPLE, ShareGauge, with_old_shares
from controller.switches.view import SwitchState
from hitless.steering.flows import NO_SHARE, Share
from hitless.steering.settings import Configuration
from hitless.words import FLOWS_PER_WAY, Affinity, FlowPlace

FABRIC = load(Path(__file__).with_name("fabric.yaml"))
ONE = next(iter(FABRIC.services.values()))


def fabric_of(*services: tuple[int, int]) -> Fabric:
    """A fabric whose services have these indices and weights; a weight of 0 stands for one that keeps nothing."""
    made = {}
    for index, weight in services:
        changes = {"index": index, "flow_weight": weight} if weight else {"index": index, "affinity": Affinity.NONE}
        made[f"s{index}"] = ONE.model_copy(update=changes)
    return FABRIC.model_copy(update={"services": made})


@given(st.dictionaries(st.integers(0, 255), st.sampled_from([0, 1, 1, 2, 8, 64]), min_size=1, max_size=256))
def test_every_service_has_a_part_that_no_other_has(weights: dict[int, int]) -> None:
    found = shares(fabric_of(*weights.items()))
    taken = sorted((share.first, share.first + share.slots) for share in found.values() if share.slots)
    assert all(end <= first for (_, end), (first, _) in pairwise(taken))
    assert all(first >= 0 and end <= FLOWS_PER_WAY for first, end in taken)
    for index, weight in weights.items():
        fair = FLOWS_PER_WAY * weight / max(sum(weights.values()), 4)
        assert fair / 2 <= found[f"s{index}"].slots <= fair


def test_services_come_and_go_without_moving_the_others() -> None:
    two = fabric_of((1, 1), (6, 2))
    assert shares(two) == {"s1": Share(32768, 16384), "s6": Share(0, 32768)}, "index 1 is next to the heavier one"
    assert shares(fabric_of((1, 1), (6, 2), (3, 1))) == shares(two) | {"s3": Share(49152, 16384)}
    assert shares(fabric_of((1, 4), (3, 0))) == {"s1": Share(0, 65536), "s3": NO_SHARE}
    assert shares(fabric_of((1, 1), (5, 1)))["s5"] == Share(32768, 16384), "the part after that, since its own is taken"


def configured(entries: dict[Place, Act], index: int) -> Configuration:
    """What an entry of `services` says."""
    return Configuration.of(dict(entries[Place("services", (("service", index),))].params))


def test_a_service_whose_share_changes_keeps_the_flows_of_the_one_it_has() -> None:
    one, two, three = (desired_entries(fabric_of(*((index, 1) for index in range(count))), "s1") for count in (4, 5, 9))
    first = with_old_shares(one, {})
    assert configured(first, 0).old_share == NO_SHARE
    assert with_old_shares(one, first) == first, "running twice changes nothing"
    second = with_old_shares(two, first)
    assert (configured(second, 1).share, configured(second, 1).old_share) == (Share(8192, 8192), Share(16384, 16384))
    assert configured(second, 4).old_share == NO_SHARE, "it is new"
    assert with_old_shares(two, second) == second
    third = with_old_shares(three, second)
    assert (configured(third, 1).share, configured(third, 1).old_share) == (Share(4096, 4096), Share(8192, 8192))


def places(first: int = 0, second: int = 0, bucket: int = 0) -> dict[FlowPlace, int]:
    """How many flows that began have found what."""
    return {FlowPlace.FIRST: first, FlowPlace.SECOND: second, FlowPlace.BUCKET: bucket}


def test_a_share_is_judged_by_what_new_flows_meet() -> None:
    gauge = ShareGauge()
    gauge.see(places(first=SAMPLE - 1), 1)
    assert gauge.use is None, "too few to tell"
    gauge.see(places(first=90, second=10), 2)
    assert gauge.use is not None and gauge.use.taken == pytest.approx(10 / 110) and not gauge.use.nearly_full
    gauge.see(places(first=100, second=20, bucket=90), 3)
    assert (
        gauge.use.taken == pytest.approx(190 / 210)
        and gauge.use.without_slot == pytest.approx(90 / 110)
        and gauge.use.nearly_full
    )
    # It has room again only when there is some to spare.
    gauge.see(places(first=130, second=50, bucket=130), 4)
    assert gauge.use.taken == pytest.approx(110 / 170) and gauge.use.nearly_full
    gauge.see(places(first=220, second=60, bucket=130), 5)
    assert not gauge.use.nearly_full
    # Too few have come since to tell.
    gauge.see(places(first=230, second=60, bucket=130), 5 + LONGEST_S)
    assert gauge.use is None
    # The switch has begun anew.
    gauge.see(places(bucket=100), 6 + LONGEST_S)
    assert gauge.use is None
    gauge.see(places(bucket=200), 7 + LONGEST_S)
    assert gauge.use is not None and gauge.use.taken == 1.0


def test_a_share_that_fills_up_and_one_that_has_room_again_are_told_once() -> None:
    state, crowded = SwitchState("s1", "127.0.0.1:9559"), set[tuple[str, str]]()
    gauge = state.shares["thumbnail"] = ShareGauge()
    told: list[ShareEvent] = []
    steps = places(first=100), places(100, 0, 400), places(100, 0, 900), places(900, 0, 900)
    for second, counted in enumerate(steps):
        gauge.see(counted, second)
        told += share_events(state, crowded)
        assert not list(share_events(state, crowded))
    assert [sentences.sentence(event) for event in told] == [
        f"thumbnail on s1: share of the flow store {what}: of the slots that new flows looked at, {part} were taken"
        for what, part in (("is nearly full", "100%"), ("has room again", "0%"))
    ]


def shown(state: SwitchState) -> str:
    """What `hitless status` prints of a fabric with this switch."""
    view = View(
        fabric=FABRIC,
        mode="in-network",
        switches={"s1": state},
        broker_error=None,
        nodes={},
        observed=Observation({}, {}),
        overrides={},
        drains=(),
        excluded=(),
        doubts={},
        now=0.0,
        last_event=0,
    )
    console = Console(width=250, file=io.StringIO())
    with console.capture() as capture:
        console.print(tables.status(status(view)))
    return capture.get()


def test_status_has_a_line_for_a_share_that_is_nearly_full_and_none_for_others() -> None:
    state = SwitchState("s1", "127.0.0.1:9559")
    for service in FABRIC.services:
        state.shares[service] = ShareGauge()
    state.shares["detect"].see(places(first=100, second=3), 1)
    assert "flow store" not in shown(state)
    state.shares["thumbnail"].see(places(first=10, second=10, bucket=80), 1)
    (line,) = (line.strip() for line in shown(state).splitlines() if "flow store" in line)
    assert line == (
        "thumbnail: its share of the flow store (32768 slots) is nearly full: of the slots that new flows looked at "
        "89% were taken, 80% of them found none"
    )
