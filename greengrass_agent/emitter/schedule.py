"""When the emitter looks at its instances. Pure: time is passed in."""


class Schedule:
    """Points in time that are whole intervals apart: lateness never adds up, missed points are left out."""

    def __init__(self, interval_ns: int, start_ns: int) -> None:
        self._interval_ns = interval_ns
        self.next_ns = start_ns
        """The next point."""

    def due(self, now_ns: int) -> bool:
        """Whether a point has come; the next one is then the first that is still ahead."""
        if now_ns < self.next_ns:
            return False
        self.next_ns += ((now_ns - self.next_ns) // self._interval_ns + 1) * self._interval_ns
        return True

    def rest(self, until_ns: int) -> None:
        """Leave out the points before that time."""
        self.next_ns += max(0, -((self.next_ns - until_ns) // self._interval_ns)) * self._interval_ns

    def wake(self, now_ns: int) -> None:
        """Rest no more: the next point is the first one that is still ahead."""
        self.next_ns -= max(0, self.next_ns - now_ns - 1) // self._interval_ns * self._interval_ns
