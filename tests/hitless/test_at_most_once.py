"""At-most-once execution, also when memory is short."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.at_most_once import RequestTable, Verdict


def test_life_of_a_request() -> None:
    table = RequestTable(answer_lifetime=10.0)
    assert table.admit(1, 5, 0.0) is Verdict.EXECUTE
    assert table.admit(1, 5, 0.1) is Verdict.RUNNING
    table.finish(1, 5, [b"a", b"bc"], 1.0)
    assert table.admit(1, 5, 2.0) is Verdict.ANSWERED
    assert table.answer(1, 5) == (b"a", b"bc")
    assert table.admit(1, 5, 12.0) is Verdict.FORGOTTEN
    assert table.admit(2, 5, 12.0) is Verdict.EXECUTE, "another client's request of the same id"


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 30), st.booleans()),
        max_size=300,
    ),
    st.integers(1, 8),
)
def test_never_twice(arrivals: list[tuple[int, int, bool]], window: int) -> None:
    """Whatever arrives in whatever order, with a window far smaller than the disorder."""
    table = RequestTable(window=window, max_answer_bytes=50, answer_lifetime=5.0)
    executed: Counter[tuple[int, int]] = Counter()
    for now, (client, number, finishes) in enumerate(arrivals):
        verdict = table.admit(client, number, float(now))
        if verdict is Verdict.EXECUTE:
            executed[client, number] += 1
        elif verdict is Verdict.ANSWERED:
            assert table.answer(client, number) == (f"{client}-{number}".encode(),)
        else:
            assert (client, number) in executed or verdict is Verdict.FORGOTTEN
        if finishes and executed[client, number]:
            table.finish(client, number, [f"{client}-{number}".encode()], float(now))
    assert not executed or max(executed.values()) == 1


def test_increasing_ids_are_always_executed() -> None:
    table = RequestTable(window=16)
    assert all(table.admit(1, number, float(number)) is Verdict.EXECUTE for number in range(1000))
    assert table.admit(1, 3, 1000.0) is Verdict.FORGOTTEN
    assert table.admit(1, 999, 1000.0) is Verdict.RUNNING


def test_disorder_within_the_window_is_executed() -> None:
    table = RequestTable(window=16)
    order = [number ^ 7 for number in range(160)]
    assert all(table.admit(1, number, 0.0) is Verdict.EXECUTE for number in order)


def test_answers_are_bounded() -> None:
    table = RequestTable(max_answer_bytes=250)
    for number in range(3):
        table.admit(1, number, 0.0)
        table.finish(1, number, [bytes(100)], 0.0)
    assert [table.admit(1, number, 1.0) for number in range(3)] == [
        Verdict.FORGOTTEN,
        Verdict.ANSWERED,
        Verdict.ANSWERED,
    ]


def test_only_silent_clients_are_forgotten() -> None:
    table = RequestTable(max_clients=2, client_lifetime=600.0)
    table.admit(1, 1, 0.0)
    table.admit(2, 1, 300.0)
    assert table.admit(3, 1, 500.0) is Verdict.REFUSED
    assert table.admit(3, 1, 601.0) is Verdict.EXECUTE
    assert table.admit(2, 1, 602.0) is Verdict.RUNNING
    table.finish(1, 1, [b"late"], 603.0)
