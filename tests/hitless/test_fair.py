"""What is kept for many: the bound holds, and nobody who keeps little loses it to those who keep much."""

from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.fair import ENTRY_BYTES, LIGHT, SOURCE_BYTES, FairStore, Kept

LIMIT = 100_000
SOURCES = 4
MOST_EACH = 3 * (ENTRY_BYTES + 2_000) + SOURCE_BYTES
"""What a modest source keeps at most."""
assert MOST_EACH < LIMIT / SOURCES

steps = st.lists(
    st.tuples(
        st.integers(0, SOURCES - 1), st.sampled_from(["add", "grow", "touch", "hold", "release"]), st.integers(0, 20)
    ),
    max_size=300,
)


@given(steps)
def test_a_source_within_its_share_loses_nothing_and_the_bound_holds(course: list[tuple[int, str, int]]) -> None:
    """Source 0 keeps three small entries at most; the others keep, use and let grow what they like."""
    store: FairStore[int] = FairStore(LIMIT)
    here: dict[int, Kept[int]] = {}
    for number, (source, step, pick) in enumerate(course):
        own = [kept for kept in here.values() if kept.value == source]
        if step == "add" or not own:
            if source == 0 and len(own) == 3:
                oldest = store.oldest_of(0)
                assert oldest is not None
                store.remove(oldest)
                del here[oldest.key]  # type: ignore[arg-type]
            here[number] = store.add(source, number, source, 1_000 if source == 0 else 700 * pick)
        else:
            kept = own[pick % len(own)]
            if step == "grow" and source != 0:
                store.grow(kept, 3_000)
            elif step == "touch":
                store.touch(kept)
            elif step == "hold":
                store.hold(kept)
            elif step == "release":
                store.release(kept)
        while (gone := store.give_way()) is not None:
            assert gone.value != 0, "a modest source lost an entry"
            del here[gone.key]  # type: ignore[arg-type]
        assert store.size <= LIMIT
        assert store.size == sum(kept.size for kept in here.values()) + SOURCE_BYTES * len(
            {kept.value for kept in here.values()}
        )
        assert len(store) == len(here)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9_000)), max_size=100))
def test_the_one_that_holds_most_gives_way_and_of_it_the_longest_idle(course: list[tuple[int, int]]) -> None:
    store: FairStore[int] = FairStore(LIMIT)
    shares: dict[int, dict[int, int]] = {}
    for number, (source, size) in enumerate(course):
        kept = store.add(source, number, source, size)
        shares.setdefault(source, {})[number] = kept.size
        while (gone := store.give_way()) is not None:
            weights = {one: sum(entries.values()) for one, entries in shares.items()}
            assert weights[gone.value] == max(weights.values())
            assert gone.key == next(iter(shares[gone.value]))
            del shares[gone.value][gone.key]  # type: ignore[arg-type]
            if not shares[gone.value]:
                del shares[gone.value]


def test_among_forged_sources_the_longest_idle_of_all_gives_way() -> None:
    store: FairStore[str] = FairStore(LIMIT * LIGHT)
    used = store.add("good", "used", "good", 5_000)
    for number in range(60_000):
        store.add(number, number, "forged", 0)
        if number % 1_000 == 0:
            store.touch(used)
        while (gone := store.give_way()) is not None:
            assert gone.value == "forged"
    assert store.get("used") is used and store.size <= store.limit


def test_what_is_in_use_gives_way_only_where_all_is() -> None:
    store: FairStore[int] = FairStore(10 * ENTRY_BYTES)
    entries = [store.add("a", number, number, ENTRY_BYTES) for number in range(3)]
    store.hold(entries[0])
    store.hold(entries[1])
    store.grow(entries[0], 6 * ENTRY_BYTES)
    gone = [kept.value for kept in iter(store.give_way, None)]
    assert gone[0] == 2, "the only one that nobody uses"
    assert len(gone) == 2 and gone[1] in (0, 1)
