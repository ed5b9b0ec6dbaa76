"""What is kept for others within a bound of bytes, shared fairly among those it is kept for. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Generic, TypeVar

ENTRY_BYTES = 448
"""What one entry costs beside its value and its key: measured with CPython 3.11, rounded up."""
SOURCE_BYTES = 1024
"""What one source costs beside its entries."""
LIGHT = 256
"""A source that holds less than this part of the bound is never the one that holds most."""
_STALE_ENTRIES = 64

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """One entry of a FairStore."""

    __slots__ = ("held", "key", "share", "size", "value")

    def __init__(self, share: _Share[Value], key: Hashable, value: Value, size: int) -> None:
        self.share = share
        self.key = key
        self.value = value
        self.size = size
        """Bytes that it counts for."""
        self.held = False
        """Whether it is in use."""


class _Share(Generic[Value]):
    __slots__ = ("held", "kept", "noted", "number", "size", "source")

    def __init__(self, source: Hashable, number: int, noted: int) -> None:
        self.source = source
        self.number = number
        self.size = 0
        self.noted = noted
        """At least `size`; as the heap has it."""
        self.held = 0
        self.kept: OrderedDict[Hashable, Kept[Value]] = OrderedDict()


class FairStore(Generic[Value]):
    """Values by key, each kept for a source, within a bound of bytes that counts the bookkeeping.

    Beyond the bound, the longest idle entry of the source that holds most gives way (`give_way`), so that a source
    costs others nothing while it holds less than an equal part of the bound. Where no source holds as much as a
    256th of it, as when sources are forged, the longest idle of all entries gives way. Of entries that are in use
    (`hold`), one gives way only where all are. Each operation takes constant time, `give_way` the logarithm of the
    number of sources; both amortised.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """The bound, bytes."""
        self.size = 0
        """Bytes in all."""
        self._light = limit // LIGHT
        self._kept: OrderedDict[Hashable, Kept[Value]] = OrderedDict()
        self._held = 0
        self._shares: dict[Hashable, _Share[Value]] = {}
        self._numbers = count()
        self._heap: list[tuple[int, int, _Share[Value]]] = []
        """Of each source that holds more than a light one: minus `noted`, number, share; and entries that are stale."""

    def __len__(self) -> int:
        """Entries."""
        return len(self._kept)

    def __iter__(self) -> Iterator[Value]:
        """The values, longest idle first."""
        return (kept.value for kept in self._kept.values())

    def get(self, key: Hashable) -> Kept[Value] | None:
        """The entry of a key."""
        return self._kept.get(key)

    def oldest(self) -> Kept[Value] | None:
        """The longest idle of all entries."""
        return next(iter(self._kept.values()), None)

    def oldest_of(self, source: Hashable) -> Kept[Value] | None:
        """The longest idle entry of a source."""
        share = self._shares.get(source)
        return None if share is None else next(iter(share.kept.values()))

    def add(self, source: Hashable, key: Hashable, value: Value, size: int) -> Kept[Value]:
        """Keep a value that costs `size` bytes with its key; the key must be new."""
        share = self._shares.get(source)
        if share is None:
            share = self._shares[source] = _Share(source, next(self._numbers), self._light)
            self.size += SOURCE_BYTES
            share.size = SOURCE_BYTES
        size += ENTRY_BYTES
        kept = share.kept[key] = self._kept[key] = Kept(share, key, value, size)
        self.size += size
        share.size += size
        if share.size > share.noted:
            self._note(share)
        return kept

    def grow(self, kept: Kept[Value], by: int) -> None:
        """An entry that is here costs so many bytes more, or less."""
        share = kept.share
        kept.size += by
        self.size += by
        share.size += by
        if share.size > share.noted:
            self._note(share)

    def touch(self, kept: Kept[Value]) -> None:
        """An entry that is here was used: it is the least idle."""
        self._kept.move_to_end(kept.key)
        kept.share.kept.move_to_end(kept.key)

    def hold(self, kept: Kept[Value]) -> None:
        """An entry that is here is in use until `release`."""
        if not kept.held:
            kept.held = True
            self._held += 1
            kept.share.held += 1

    def release(self, kept: Kept[Value]) -> None:
        """An entry that is here is not in use any more."""
        if kept.held:
            kept.held = False
            self._held -= 1
            kept.share.held -= 1

    def remove(self, kept: Kept[Value]) -> None:
        """An entry that is here goes."""
        if kept.held:
            self.release(kept)
        share = kept.share
        del self._kept[kept.key]
        del share.kept[kept.key]
        self.size -= kept.size
        share.size -= kept.size
        if not share.kept:
            del self._shares[share.source]
            self.size -= SOURCE_BYTES
            share.noted = 0

    def give_way(self) -> Kept[Value] | None:
        """Remove the entry that must give way, and return it; None within the bound."""
        if self.size <= self.limit:
            return None
        share = self._heaviest()
        among, held = (self._kept, self._held) if share is None else (share.kept, share.held)
        kept = next(iter(among.values()))
        if held < len(among):
            while kept.held:
                among.move_to_end(kept.key)
                kept = next(iter(among.values()))
        self.remove(kept)
        return kept

    def _note(self, share: _Share[Value]) -> None:
        # With room to grow: a source that grows by little does not come here each time.
        share.noted = 2 * share.size
        heappush(self._heap, (-share.noted, share.number, share))
        if len(self._heap) > 2 * len(self._shares) + _STALE_ENTRIES:
            self._heap = [entry for entry in self._heap if -entry[0] == entry[2].noted]
            heapify(self._heap)

    def _heaviest(self) -> _Share[Value] | None:
        heap = self._heap
        while heap:
            noted, number, share = heap[0]
            if -noted != share.noted:
                heappop(heap)
            elif share.size <= self._light:
                heappop(heap)
                share.noted = self._light
            elif share.size < share.noted:
                share.noted = share.size
                heapreplace(heap, (-share.size, number, share))
            else:
                return share
        return None
