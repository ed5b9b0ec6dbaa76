"""What makes an instance not ready although its component runs: the decisions."""

import pytest

from greengrass_agent.components.health import Health
from greengrass_agent.emitter.trust import Trust
from greengrass_agent.gateway.dispatch import STALLED_NS, Dispatcher, Limits
from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.heartbeat import LATE, RESTING, Heartbeat
from greengrass_agent.gateway.job import Job
from greengrass_agent.measure.queue_page import QueueNumbers
from hitless.component.service_configuration import ServiceConfiguration, ServiceConfigurationError
from hitless.steering.settings import Configuration
from hitless.wire.worker_frames import Response, ResponseHead

MS = 1_000_000
INTERVAL = 50 * MS
LONG = 1 << 40


def job(request: int, body: bytes | None = b"") -> Job:
    return Job(1, request, 0, body, None, 0, LONG, Gathered(lambda _: None, 100))


def queue_of(*workers: str, timeout_ns: int = LONG) -> Dispatcher[str]:
    queue: Dispatcher[str] = Dispatcher(Limits(len(workers), 10, timeout_ns))
    for worker in workers:
        queue.ready(worker, 0)
    return queue


def is_ready(queue: Dispatcher[str]) -> bool:
    return queue.numbers(draining=False, received=0).ready


def test_a_gateway_with_work_beats_as_often_as_it_is_reported_and_one_at_rest_seldom() -> None:
    heartbeat = Heartbeat(INTERVAL)

    def pause(done: int, *, empty: bool) -> int:
        heartbeat.beat(0, done, empty=empty)
        return heartbeat.next_ns

    assert pause(0, empty=True) == RESTING * INTERVAL
    assert pause(0, empty=False) == INTERVAL, "a request is here"
    assert pause(7, empty=True) == INTERVAL, "some were"
    assert pause(7, empty=True) == RESTING * INTERVAL


def test_a_heartbeat_holds_until_the_next_is_as_late_as_a_report_may_be_by_default() -> None:
    assert Heartbeat(INTERVAL).beat(7, 0, empty=False) == 7 + (1 + LATE) * INTERVAL
    assert Configuration().stale_after * 1000 == LATE * INTERVAL


def test_a_loop_that_stood_still_knows_it() -> None:
    heartbeat = Heartbeat(INTERVAL)
    for now_ns, in_time in ((0, True), (5 * INTERVAL, True), (10 * INTERVAL + 1, False), (12 * INTERVAL, True)):
        heartbeat.beat(now_ns, 0, empty=False)
        assert heartbeat.in_time is in_time


def test_a_gateway_whose_heartbeat_is_overdue_twice_in_a_row_is_not_ready() -> None:
    trust, numbers = Trust(), QueueNumbers(queue_depth=3, ready=True)
    trust.look(100, 90)
    assert trust.judge(numbers) is numbers
    trust.look(100, 110)
    assert trust.judge(numbers) is numbers, "the whole node may have stood still"
    trust.look(100, 120)
    assert (trust.silent, trust.judge(numbers)) == (True, QueueNumbers(queue_depth=3, ready=False))
    trust.look(200, 130)
    assert trust.judge(numbers) is numbers


def test_work_that_waits_while_no_worker_answers_makes_it_not_ready_until_one_does() -> None:
    queue = queue_of("a", "b")
    for request in (1, 2):
        queue.submit(job(request))
    queue.assign(0)
    assert not queue.look(2 * STALLED_NS), "nothing waits"
    queue.submit(job(3))
    assert not queue.look(STALLED_NS - 1)
    assert queue.look(STALLED_NS)
    assert not is_ready(queue)
    queue.suspend("so that what waited has left")
    queue.suspend(None)
    assert not queue.look(3 * STALLED_NS)
    assert not is_ready(queue), "no worker has moved since"
    queue.freed("a", Response(1, 200, 0, 10, b""))
    assert queue.look(3 * STALLED_NS)
    assert is_ready(queue)


def test_a_worker_that_joins_ends_the_stall() -> None:
    queue = queue_of("a")
    queue.submit(job(1))
    queue.assign(0)
    queue.submit(job(2))
    assert queue.look(STALLED_NS)
    queue.left("a", STALLED_NS)
    queue.ready("b", 0)
    queue.assign(STALLED_NS)
    assert queue.look(STALLED_NS + 1)
    assert is_ready(queue)


def test_slow_functions_and_answers_in_parts_and_slow_clients_are_no_stall() -> None:
    slow = queue_of("a")
    slow.submit(job(1))
    slow.assign(0)
    slow.freed("a", Response(1, 200, 0, STALLED_NS, b""))
    for request in (2, 3):
        slow.submit(job(request))
    slow.assign(0)
    assert not slow.look(7 * STALLED_NS)
    assert slow.look(8 * STALLED_NS), "eight times the service time"
    parts = queue_of("a")
    for request in (1, 2):
        parts.submit(job(request))
    parts.assign(0)
    parts.began("a", ResponseHead(1, 200, 1, {}))
    assert not parts.look(8 * STALLED_NS)
    streamed = queue_of("a")
    for request in (1, 2):
        streamed.submit(job(request, None))
    streamed.assign(0)
    assert not streamed.look(8 * STALLED_NS)


@pytest.mark.parametrize(("timeout_ns", "patience_ns"), [(3 * STALLED_NS, 3 * STALLED_NS), (100 * MS, STALLED_NS)])
def test_a_stall_is_waited_for_no_longer_than_a_request_may_take_and_no_shorter_than_a_second(
    timeout_ns: int, patience_ns: int
) -> None:
    queue = queue_of("a", timeout_ns=timeout_ns)
    queue.service_time.add(STALLED_NS)
    for request in (1, 2):
        queue.submit(job(request))
    queue.assign(0)
    assert not queue.look(patience_ns - 1)
    assert queue.look(patience_ns)


def test_it_takes_as_many_failed_checks_as_the_configuration_says_and_one_that_succeeds() -> None:
    health = Health()
    for _ in range(2):
        health.checked("answered with 500", 3)
    assert health.reason is None
    health.checked("answered with 500", 3)
    assert health.reason == "not ready: health check: answered with 500"
    health.stalled = True
    assert health.reason == "not ready: work waits and no worker takes any"
    health.silent = True
    assert health.reason == "not ready: its gateway stands still"
    health.silent = health.stalled = False
    health.checked(None, 3)
    assert health.reason is None


@pytest.mark.parametrize(
    ("protocol", "health_check", "wrong"),
    [
        ("tcp", {"path": "/health"}, None),
        ("udp", {"payload": ""}, None),
        ("tcp", {"payload": "x"}, "expected path, not payload, for a service over tcp"),
        ("udp", {}, "expected payload, not path, for a service over udp"),
        ("tcp", {"path": "/a b\r\nX: y"}, "health_check.path"),
        ("tcp", {"path": "/", "often": True}, "health_check.often"),
    ],
)
def test_a_check_fits_its_services_protocol(protocol: str, health_check: dict[str, object], wrong: str | None) -> None:
    endpoint = {"address": "10.96.0.1", "port": 80, "service_id": 1, "protocol": protocol}
    configuration = {"service": "s", "endpoints": {"s": endpoint}, "health_check": health_check}
    if wrong is None:
        assert ServiceConfiguration.read(configuration) is not None
    else:
        with pytest.raises(ServiceConfigurationError, match=wrong):
            ServiceConfiguration.read(configuration)
