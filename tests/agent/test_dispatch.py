"""The gateway's queue: order, bounds, deadlines, lost workers."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.gateway.dispatch import STUCK_AFTER_NS, Dispatcher, Execution, Limits
from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Answer, Job
from greengrass_agent.gateway.waiting import Waiting
from hitless.wire.worker_frames import Response, ResponseEnd, ResponseHead

TIMEOUT = 1000


class Client:
    """Makes requests and keeps their answers."""

    def __init__(self) -> None:
        self.answers: dict[int, list[Answer]] = {}

    def job(self, request: int, deadline: int = 1 << 40, source: str = "", body: bytes | None = b"") -> Job:
        self.answers[request] = []
        return Job(1, request, 0, body, None, 0, deadline, Gathered(self.answers[request].append, 100), source)

    def statuses(self) -> dict[int, list[int]]:
        return {request: [answer.status for answer in answers] for request, answers in self.answers.items()}


def queue_of(concurrency: int, limit: int) -> Dispatcher[str]:
    """A queue whose workers are letters."""
    return Dispatcher(Limits(concurrency, limit, TIMEOUT))


def response(number: int, status: int = 200, took: int = 10) -> Response:
    return Response(number, status, 100, 100 + took, b"")


def ended(queue: Dispatcher[str], worker: str, end: Response | ResponseEnd) -> tuple[Execution | None, list[str]]:
    """A worker's answer, for the queue and then for its client."""
    job, leaving = queue.freed(worker, end)
    return (None if job is None else queue.done(job, end)), leaving


def test_first_come_first_served_by_idle_workers() -> None:
    queue, client = queue_of(2, 10), Client()
    for request in (1, 2, 3):
        queue.submit(client.job(request))
    assert queue.assign(5) == []
    assert [queue.ready(worker, 0) for worker in "abc"] == [[], [], ["c"]], "c is one more than wanted"
    assert [(worker, job.request_id) for worker, job in queue.assign(5)] == [("a", 1), ("b", 2)]
    numbers = queue.numbers(draining=False, received=0)
    assert (numbers.queue_depth, numbers.in_flight, numbers.concurrency) == (1, 2, 2)
    assert numbers.oldest_start_ns == 5
    done, _ = ended(queue, "b", response(2))
    assert done is not None
    assert (done.job.request_id, done.started_ns, done.finished_ns, done.status) == (2, 100, 110, 200)
    assert [(worker, job.request_id) for worker, job in queue.assign(6)] == [("b", 3)]
    assert queue.numbers(draining=True, received=0).service_time_ns == 10


def test_a_full_queue_refuses_at_once() -> None:
    queue, client = queue_of(1, 2), Client()
    refused = [queue.submit(client.job(request)) for request in (1, 2, 3)]
    assert refused[:2] == [None, None]
    assert isinstance(refused[2], Execution)
    assert client.statuses() == {1: [], 2: [], 3: [503]}


def test_deadlines_in_the_queue_and_in_a_worker() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    queue.submit(client.job(1, deadline=50))
    queue.assign(0)
    queue.submit(client.job(2, deadline=60))
    expired, stuck = queue.expire(55)
    assert (expired, stuck) == ([], [])
    assert client.statuses() == {1: [504], 2: []}
    expired, _ = queue.expire(60)
    assert [execution.job.request_id for execution in expired] == [2]
    assert client.statuses() == {1: [504], 2: [504]}
    late, _ = ended(queue, "a", response(1))
    assert late is not None
    assert (late.started_ns, late.finished_ns) == (100, 110), "it was executed, and the log must say so"
    assert late.status == 504, "and what the client was told"
    assert client.statuses()[1] == [504], "but it is answered once"


def test_a_worker_that_never_answers_is_found() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    queue.submit(client.job(1, deadline=5))
    queue.assign(0)
    assert queue.next_deadline() == 5
    assert queue.expire(5) == ([], [])
    assert queue.next_deadline() == TIMEOUT + STUCK_AFTER_NS
    assert queue.expire(TIMEOUT + STUCK_AFTER_NS - 1)[1] == []
    assert queue.expire(TIMEOUT + STUCK_AFTER_NS)[1] == ["a"]
    gone = queue.left("a", 0)
    assert gone is not None
    assert gone.status == 504, "what its client was told"
    assert queue.workers == {}
    assert queue.numbers(draining=False, received=0).ready is False


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    assert ended(queue, "a", response(1)) == (None, [])
    queue.submit(client.job(1))
    queue.assign(0)
    assert ended(queue, "a", response(99)) == (None, [])
    assert client.statuses() == {1: []}


def test_new_work_goes_to_the_launch_that_is_served_and_the_others_leave() -> None:
    queue, client = queue_of(2, 10), Client()
    for worker in "ab":
        queue.ready(worker, 1)
    queue.submit(client.job(1))
    assert queue.assign(0) == [], "not served yet"
    assert queue.serve(1) == []
    assert [worker for worker, _ in queue.assign(0)] == ["a"]
    queue.ready("c", 2)
    queue.ready("d", 2)
    assert queue.workers == {1: 2, 2: 2}
    queue.submit(client.job(2))
    assert queue.serve(2) == ["b"], "idle: it leaves at once"
    assert [(worker, job.request_id) for worker, job in queue.assign(1)] == [("c", 2)]
    done, leaving = ended(queue, "a", response(1))
    assert done is not None and leaving == ["a"], "busy: it leaves with its answer"
    assert queue.workers == {2: 2}
    assert queue.ready("e", 1) == ["e"], "it comes up too late"
    assert client.statuses() == {1: [200], 2: []}


def test_fewer_workers_are_kept_when_fewer_are_wanted() -> None:
    queue, client = queue_of(3, 10), Client()
    for worker in "abc":
        queue.ready(worker, 0)
    for request in (1, 2):
        queue.submit(client.job(request))
    queue.assign(0)
    queue.limits = Limits(1, 10, TIMEOUT)
    assert queue.trim() == ["c"]
    assert ended(queue, "a", response(1))[1] == ["a"]
    assert ended(queue, "b", response(2))[1] == []
    assert queue.numbers(draining=False, received=0).concurrency == 1


def test_a_request_whose_worker_died_is_executed_again_once_if_it_may_be() -> None:
    queue, client = Dispatcher[str](Limits(3, 10, TIMEOUT, idempotent=True)), Client()
    for worker in "abc":
        queue.ready(worker, 0)
    queue.submit(client.job(1))
    queue.assign(0)
    queue.submit(client.job(2))
    assert queue.left("a", 1) is None
    assert [(worker, job.request_id) for worker, job in queue.assign(1)] == [("b", 1), ("c", 2)], "in front of all"
    gone = queue.left("b", 2)
    assert gone is not None and gone.status == 502
    queue.ready("d", 0)
    queue.submit(client.job(3, deadline=5))
    queue.assign(3)
    assert queue.left("d", 6) is not None, "nobody waits for it any more"
    assert client.statuses() == {1: [502], 2: [], 3: [502]}


def test_a_request_that_a_leaving_worker_does_not_take_waits_for_another() -> None:
    queue, client = queue_of(2, 10), Client()
    queue.ready("a", 0)
    for request in (1, 2):
        queue.submit(client.job(request, deadline=50))
    ((worker, job),) = queue.assign(0)
    assert queue.refused(worker, job) is None
    assert queue.assign(0) == [], "it gets nothing more"
    numbers = queue.numbers(draining=False, received=0)
    assert (numbers.queue_depth, numbers.in_flight, numbers.ready) == (2, 0, False)
    assert queue.left("a", 0) is None
    queue.ready("b", 0)
    assert [(worker, job.request_id) for worker, job in queue.assign(0)] == [("b", 1)], "in front of all"
    queue.expire(50)
    assert client.statuses() == {1: [504], 2: [504]}


def test_a_request_that_no_worker_can_be_given_leaves_its_worker_free() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    queue.submit(client.job(1))
    ((worker, job),) = queue.assign(0)
    assert queue.unsent(worker, job) == []
    queue.submit(client.job(2))
    assert [(worker, job.request_id) for worker, job in queue.assign(0)] == [("a", 2)]


def test_a_suspended_queue_answers_what_waits_and_what_comes() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.submit(client.job(1))
    assert [execution.status for execution in queue.suspend("broken")] == [503]
    assert queue.submit(client.job(2)) is not None
    queue.ready("a", 0)
    assert queue.numbers(draining=False, received=0).ready is False
    queue.suspend(None)
    queue.submit(client.job(3))
    assert len(queue.assign(0)) == 1
    assert client.answers[1][0].body == b"broken"
    assert client.statuses() == {1: [503], 2: [503], 3: []}


def test_an_answer_in_parts_has_no_deadline_once_it_has_begun() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    queue.submit(client.job(1, deadline=50))
    ((_, job),) = queue.assign(0)
    assert queue.began("a", ResponseHead(job.number, 206, 5)) is job
    assert queue.next_deadline() is None
    job.client.part(b"half")
    gone = queue.left("a", 99)
    assert gone is not None and client.answers[1][0].body.startswith(b"the function's worker ended")
    queue.ready("b", 0)
    queue.submit(client.job(2, deadline=50))
    ((_, job),) = queue.assign(0)
    queue.began("b", ResponseHead(job.number, 206, 5))
    done, _ = ended(queue, "b", ResponseEnd(job.number, 9))
    assert done is not None and (done.status, done.started_ns, done.finished_ns) == (206, 5, 9)


def test_a_client_that_has_gone_gives_its_worker_the_time_limit() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    job = client.job(1)
    queue.submit(job)
    assert queue.cancelled(job, 0) is False
    queue.assign(0)
    assert queue.cancelled(job, 10) is True
    assert queue.expire(10 + TIMEOUT + STUCK_AFTER_NS) == ([], ["a"])


def test_the_time_of_a_streamed_request_begins_with_its_last_byte() -> None:
    queue, client = queue_of(1, 10), Client()
    queue.ready("a", 0)
    job = client.job(1, deadline=50, body=None)
    queue.submit(job)
    queue.assign(0)
    assert queue.next_deadline() is None
    queue.whole(job, 10_000)
    assert queue.next_deadline() == 10_000 + TIMEOUT


def test_sources_take_turns_and_the_greediest_gives_way() -> None:
    waiting, client = Waiting(), Client()
    jobs = [client.job(number, source=source) for number, source in enumerate(["a", "a", "a", "b"])]
    for number, job in enumerate(jobs):
        job.number = number
        assert waiting.add(job, 4) is None
    newcomer = client.job(9, source="c")
    newcomer.number = 9
    assert waiting.add(newcomer, 4) is jobs[2], "the newest of the source that has most"
    another = client.job(10, source="a")
    another.number = 10
    assert waiting.add(another, 4) is another
    assert [waiting.take().source for _ in range(len(waiting))] == ["a", "b", "c", "a"]


waits = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add", "add", "take", "remove", "put_back"]), st.integers(0, 4))
)


@given(st.integers(1, 6), waits)
def test_who_gives_way_never_has_less_waiting_than_another(limit: int, story: list[tuple[str, int]]) -> None:
    waiting, client = Waiting(), Client()
    held: list[Job] = []
    for number, (move, choice) in enumerate(story):
        if move in ("add", "put_back"):
            job = client.job(number, source="abcde"[choice])
            job.number = number
            before = Counter(one.source for one in held)
            most, full = max(before.values(), default=0), len(held) >= limit
            held.append(job)
            if move == "put_back":
                waiting.put_back(job)
            else:
                refused = waiting.add(job, limit)
                assert (refused is not None) == full
                if refused is not None:
                    own = before[job.source]
                    assert own >= most if refused is job else before[refused.source] == most > own
                    held.remove(refused)
        elif held and move == "take":
            held.remove(waiting.take())
        elif held:
            waiting.remove(held.pop(choice % len(held)))
        assert len(waiting) == len(held)
    assert sorted(job.number for job in waiting.clear()) == sorted(job.number for job in held)


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
                queue.ready(f"w{workers}", 0)
            case "leave" if running:
                worker, _ = running.popitem()
                queue.left(worker, now)
            case "done" if running:
                worker, job = running.popitem()
                assert ended(queue, worker, response(job.number))[0] is not None
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
        queue.left(worker, now)
    queue.expire(now + 100)
    assert all(len(answers) == 1 for answers in client.answers.values())
    assert queue.empty
