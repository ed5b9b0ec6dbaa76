"""The gateway's queue: order, bounds, deadlines, lost workers."""

from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.gateway.dispatch import STUCK_AFTER_NS, Dispatcher, Execution
from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Answer, Job
from hitless.wire.worker_frames import Response

TIMEOUT = 1000


class Client:
    """Makes requests and keeps their answers."""

    def __init__(self) -> None:
        self.answers: dict[int, list[Answer]] = {}

    def job(self, request: int, deadline: int = 1 << 40) -> Job:
        self.answers[request] = []
        return Job(1, request, 0, b"", None, 0, deadline, Gathered(self.answers[request].append, 100))

    def statuses(self) -> dict[int, list[int]]:
        return {request: [answer.status for answer in answers] for request, answers in self.answers.items()}


def queue_of(concurrency: int, limit: int) -> Dispatcher[str]:
    """A queue whose workers are letters."""
    return Dispatcher(concurrency, limit, TIMEOUT)


def response(number: int, status: int = 200, took: int = 10) -> Response:
    return Response(number, status, 100, 100 + took, b"")


def test_first_come_first_served_by_idle_workers() -> None:
    queue, client = queue_of(2, 10), Client()
    for request in (1, 2, 3):
        queue.submit(client.job(request))
    assert queue.assign(5) == []
    for worker in "abc":
        queue.joined(worker)
    assert [(worker, job.request_id) for worker, job in queue.assign(5)] == [("a", 1), ("b", 2)]
    numbers = queue.numbers(draining=False, received=0)
    assert (numbers.queue_depth, numbers.in_flight, numbers.concurrency) == (1, 2, 2)
    assert numbers.oldest_start_ns == 5
    done = queue.done("b", response(2))
    assert done is not None
    assert (done.job.request_id, done.started_ns, done.finished_ns, done.status) == (2, 100, 110, 200)
    assert [(worker, job.request_id) for worker, job in queue.assign(6)] == [("c", 3)]
    assert queue.numbers(draining=True, received=0).service_time_ns == 10


def test_a_full_queue_refuses_at_once() -> None:
    queue, client = queue_of(1, 2), Client()
    refused = [queue.submit(client.job(request)) for request in (1, 2, 3)]
    assert refused[:2] == [None, None]
    assert isinstance(refused[2], Execution)
    assert client.statuses() == {1: [], 2: [], 3: [503]}


def test_deadlines_in_the_queue_and_in_a_worker() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.joined("a")
    queue.submit(client.job(1, deadline=50))
    queue.assign(0)
    queue.submit(client.job(2, deadline=60))
    expired, stuck = queue.expire(55)
    assert (expired, stuck) == ([], [])
    assert client.statuses() == {1: [504], 2: []}
    expired, _ = queue.expire(60)
    assert [execution.job.request_id for execution in expired] == [2]
    assert client.statuses() == {1: [504], 2: [504]}
    late = queue.done("a", response(1))
    assert late is not None
    assert (late.started_ns, late.finished_ns) == (100, 110), "it was executed, and the log must say so"
    assert late.status == 504, "and what the client was told"
    assert client.statuses()[1] == [504], "but it is answered once"


def test_a_worker_that_never_answers_is_found() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.joined("a")
    queue.submit(client.job(1, deadline=5))
    queue.assign(0)
    assert queue.expire(TIMEOUT + STUCK_AFTER_NS - 1)[1] == []
    assert queue.expire(TIMEOUT + STUCK_AFTER_NS)[1] == ["a"]
    gone = queue.left("a")
    assert gone is not None
    assert gone.status == 502
    assert queue.workers == 0
    assert queue.numbers(draining=False, received=0).ready is False


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.joined("a")
    assert queue.done("a", response(1)) is None
    queue.submit(client.job(1))
    queue.assign(0)
    assert queue.done("a", response(99)) is None
    assert client.statuses() == {1: []}


moves = st.lists(
    st.sampled_from(["submit", "submit", "join", "leave", "done", "expire"]) | st.integers(0, 3), max_size=60
)


@given(st.integers(1, 3), st.integers(1, 4), moves)
def test_each_request_is_answered_once_and_executed_at_most_once(
    concurrency: int, limit: int, story: list[str | int]
) -> None:
    queue, client = queue_of(concurrency, limit), Client()
    running: dict[str, Job] = {}
    executed: list[int] = []
    workers = now = request = 0
    for move in story:
        now += 1
        match move:
            case "submit":
                request += 1
                queue.submit(client.job(request, deadline=now + 20))
            case "join":
                workers += 1
                queue.joined(f"w{workers}")
            case "leave" if running:
                worker, _ = running.popitem()
                queue.left(worker)
            case "done" if running:
                worker, job = running.popitem()
                assert queue.done(worker, response(job.number)) is not None
            case "expire":
                queue.expire(now)
            case int():
                now += 10 * move
        for taken, job in queue.assign(now):
            executed.append(job.request_id)
            running[taken] = job
        numbers = queue.numbers(draining=False, received=0)
        assert numbers.in_flight == len(running) <= concurrency
        assert numbers.queue_depth <= limit
        assert not (numbers.queue_depth and numbers.in_flight < numbers.concurrency)
    assert len(executed) == len(set(executed))
    assert executed == sorted(executed), "first come, first served"
    for worker in list(running):
        queue.left(worker)
    queue.expire(now + 100)
    assert all(len(answers) == 1 for answers in client.answers.values())
    assert queue.empty
