"""How tests deal with time on a machine that others use too."""

from collections.abc import Callable

PATIENCE = 60.0
"""Seconds that a test waits for what normally comes at once: only what is broken ever takes so long."""


def quickest(measure: Callable[[], float], below: float, tries: int = 5) -> float:
    """The least that a measurement of seconds comes to, repeated only until it is `below`.

    A machine that is busy for a moment makes one of them long, code that is slow makes all of them long.
    """
    least = measure()
    for _ in range(tries - 1):
        if least < below:
            break
        least = min(least, measure())
    return least
