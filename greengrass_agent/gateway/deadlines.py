"""When something is due for which number, in the order of time. Pure."""

from __future__ import annotations

import heapq

_SLACK = 64


class Deadlines:
    """One time a number. Setting, clearing and finding the next take time logarithmic in how many are set."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []
        """Entries that `_at` does not confirm are of numbers that were cleared or set anew."""

    def __len__(self) -> int:
        return len(self._at)

    def set(self, number: int, at: int) -> None:
        """Let this be its time, in place of an earlier setting."""
        self._at[number] = at
        heapq.heappush(self._heap, (at, number))

    def clear(self, number: int) -> None:
        """Forget a number, if it is there."""
        if self._at.pop(number, None) is not None and len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(at, number) for number, at in self._at.items()]
            heapq.heapify(self._heap)

    def next(self) -> int | None:
        """The earliest time that is set."""
        heap, at = self._heap, self._at
        while heap and at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: int) -> list[int]:
        """Numbers whose time has come, the earliest first; they are forgotten."""
        numbers = []
        while (at := self.next()) is not None and at <= now:
            _, number = heapq.heappop(self._heap)
            del self._at[number]
            numbers.append(number)
        return numbers
