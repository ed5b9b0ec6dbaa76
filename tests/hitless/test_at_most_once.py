"""At-most-once execution, also when memory is short."""

import tracemalloc
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.at_most_once import RequestTable, Verdict

HERE = "10.0.0.1"


def test_life_of_a_request() -> None:
    table = RequestTable(answer_lifetime=10.0)
    assert table.admit(HERE, 1, 5, 0.0) is Verdict.EXECUTE
    assert table.admit(HERE, 1, 5, 0.1) is Verdict.RUNNING
    table.finish(HERE, 1, 5, [b"a", b"bc"], 1.0)
    assert table.admit(HERE, 1, 5, 2.0) is Verdict.ANSWERED
    assert table.answer(HERE, 1, 5, 0, 2.0) == (b"a", b"bc")
    assert table.admit(HERE, 1, 5, 12.0) is Verdict.FORGOTTEN
    assert table.admit(HERE, 2, 5, 12.0) is Verdict.EXECUTE, "another client's request of the same id"


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 30) | st.integers(0, 30).map(lambda id: 100 * id), st.booleans()),
        max_size=300,
    ),
    st.integers(1, 8),
    st.sampled_from([1_000, 4_000, 1 << 20]),
)
def test_never_twice(arrivals: list[tuple[int, int, bool]], window: int, room: int) -> None:
    """Whatever arrives in whatever order, with a window far smaller than the disorder, and hardly room for it."""
    table = RequestTable(window=window, max_mark_bytes=room, max_answer_bytes=3_000, answer_lifetime=5.0)
    executed: Counter[tuple[int, int]] = Counter()
    for now, (client, number, finishes) in enumerate(arrivals):
        verdict = table.admit(HERE, client, number, float(now))
        if verdict is Verdict.EXECUTE:
            executed[client, number] += 1
        elif verdict is Verdict.ANSWERED:
            assert table.answer(HERE, client, number, 0, float(now)) == (f"{client}-{number}".encode(),)
        else:
            assert (client, number) in executed or verdict is Verdict.FORGOTTEN
        if finishes and executed[client, number]:
            table.finish(HERE, client, number, [f"{client}-{number}".encode()], float(now))
    assert not executed or max(executed.values()) == 1


def test_increasing_ids_are_always_executed() -> None:
    table = RequestTable(window=16)
    for number in range(1000):
        assert table.admit(HERE, 1, number, float(number)) is Verdict.EXECUTE
        if number < 999:
            table.finish(HERE, 1, number, [b""], 0.0)
    assert table.admit(HERE, 1, 3, 1000.0) is Verdict.FORGOTTEN
    assert table.admit(HERE, 1, 999, 1000.0) is Verdict.RUNNING


def test_disorder_within_the_window_is_executed() -> None:
    table = RequestTable(window=16)
    order = [number ^ 7 for number in range(160)]
    assert all(table.admit(HERE, 1, number, 0.0) is Verdict.EXECUTE for number in order)


def test_answers_are_bounded_and_those_of_whoever_keeps_most_go() -> None:
    table = RequestTable(max_answer_bytes=60_000)
    table.admit("10.0.0.2", 1, 0, 0.0)
    table.finish("10.0.0.2", 1, 0, [bytes(5_000)], 0.0)
    for number in range(8):
        table.admit(HERE, 1, number, 0.0)
        table.finish(HERE, 1, number, [bytes(10_000)], 0.0)
    assert table.admit("10.0.0.2", 1, 0, 1.0) is Verdict.ANSWERED
    verdicts = [table.admit(HERE, 1, number, 1.0) for number in range(8)]
    assert verdicts == [Verdict.FORGOTTEN] * 4 + [Verdict.ANSWERED] * 4


def test_newcomers_are_taken_however_many_clients_there_are_and_the_longest_idle_of_the_same_address_is_forgotten() -> (
    None
):
    table = RequestTable(max_client_bytes=400_000)
    for client in range(3):
        table.admit("10.0.0.2", client, 1, 0.0)
        table.finish("10.0.0.2", client, 1, [b""], 0.0)
    table.admit(HERE, 0, 1, 0.0)
    for client in range(1, 5_000):
        assert table.admit(HERE, client, 1, 1.0) is Verdict.EXECUTE, "a newcomer"
        table.finish(HERE, client, 1, [b""], 1.0)
    assert table.admit(HERE, 0, 1, 2.0) is Verdict.RUNNING, "it has a request under way"
    assert table.admit(HERE, 4_990, 1, 20.0) is Verdict.FORGOTTEN, "known, and its answer is gone"
    assert table.admit(HERE, 1, 1, 20.0) is Verdict.EXECUTE, "forgotten"
    for client in range(3):
        assert table.admit("10.0.0.2", client, 1, 20.0) is Verdict.FORGOTTEN, "others lose nothing by it"


def test_a_client_is_an_address_and_an_id() -> None:
    """Who guesses another's id and sends from elsewhere neither uses up its requests nor gets its answers."""
    table = RequestTable()
    assert table.admit("10.0.0.66", 1, (1 << 64) - 1, 0.0) is Verdict.EXECUTE
    assert table.admit(HERE, 1, 1, 0.0) is Verdict.EXECUTE
    table.finish(HERE, 1, 1, [b"secret"], 0.0)
    assert table.admit("10.0.0.66", 1, 1, 0.0) is Verdict.EXECUTE


def test_memory_is_what_is_counted_whoever_comes() -> None:
    limits = {"max_client_bytes": 1 << 18, "max_mark_bytes": 1 << 18, "max_answer_bytes": 1 << 18}
    tracemalloc.start()
    try:
        table = RequestTable(**limits)
        for number in range(3_000):
            address = f"10.0.{number >> 8}.{number & 0xFF}" if number & 1 else HERE
            client = number if number & 2 else 5
            table.admit(address, client, number << 32, 0.0)
            if number % 3:
                table.finish(address, client, number << 32, [bytes(number % 700)], 0.0)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < table.size <= 3 << 18


def test_a_large_answer_is_not_repeated_faster_than_a_path_could_lose_it() -> None:
    table = RequestTable()
    large, small = [bytes(1442)] * 10, [bytes(1442)]
    for request, answer in ((1, large), (2, small)):
        table.admit(HERE, 1, request, 0.0)
        table.finish(HERE, 1, request, answer, 0.0)
    sent = [now / 1000 for now in range(1000) if table.answer(HERE, 1, 1, 1, now / 1000) is not None]
    assert len(sent) == 19 and min(later - sooner for sooner, later in pairwise(sent)) > 0.049
    assert table.answer(HERE, 1, 1, 14_000, 1.0) is not None, "the request was as large"
    assert all(table.answer(HERE, 1, 2, 1, 0.0) is not None for _ in range(10))
