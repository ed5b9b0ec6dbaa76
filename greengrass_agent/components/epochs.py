"""The epochs of a node's instances and of its agent: counts of their starts on disk, which go on in memory where the
disk does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from hitless.files import Starts, StateError

log = logging.getLogger(__name__)

U32 = 1 << 32
SINCE = 1_577_836_800
"""2020-01-01T00:00Z in Unix time. Seconds since then are later than any count of starts, for sixty years."""


class Epochs:
    """Gives each start of an instance an epoch that is newer than its last one.

    A switch takes no report of an older epoch. An instance that gets none would not be reported at all, so a file that
    cannot be written or read is told, and the node goes on: with the count in memory, or, if that was lost, with the
    seconds since 2020, which are newer than what was counted.
    """

    def __init__(self, file: Callable[[str], Path], clock: Callable[[], float] = time.time) -> None:
        """`file` is where a count is kept: an instance's by its service's name, the agent's as `agent`.

        `clock` says Unix time in seconds.
        """
        self._file = file
        self._clock = clock
        self._last: dict[str, int] = {}

    def next(self, name: str) -> int:
        """The epoch of one more start."""
        starts = Starts(self._file(name))
        last = self._last.get(name)
        if last is None:
            last = starts.load()
        if last is None:
            last = int(self._clock()) - SINCE
            log.error("%s begins at epoch %d, later than any before", name, last + 1)
        epoch = self._last[name] = (last + 1) % U32
        try:
            starts.save(epoch)
        except StateError as error:
            log.error(
                "epoch %d of %s is not on disk: if the agent starts again before it is, switches may take its reports"
                " for old ones (REPORT_OLD) until the node's generation is raised in the fabric file: %s",
                epoch,
                name,
                error,
            )
        return epoch
