"""What the agent's processes tell people, on their standard error: whatever becomes of that, they go on.

A full disk, a closed pipe or a reader that has stopped reading must not stop a gateway, so a thread writes.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time

from greengrass_agent.logs.repeats import Repeats
from greengrass_agent.logs.writer import BoundedWriter

SAME = 10
FROM_ONE_PLACE = 200
"""Messages in `repeats.PERIOD_S`."""


def log_to_stderr(level: int | str, layout: str) -> None:
    """Have the process's log on its standard error, in this layout (of `logging`). Once, when the process begins."""
    logging.raiseExceptions = False
    handler = _Handler()
    handler.setFormatter(logging.Formatter(layout))
    logging.basicConfig(level=level, handlers=[handler])
    atexit.register(handler.finish)


class _Stderr:
    """The process's standard error, a sink of a BoundedWriter."""

    def write(self, data: bytes) -> int:
        return os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, data)

    def close(self) -> None:
        pass


class _Handler(logging.Handler):
    """Takes records: at most some that say the same in a while, and some more from the same place in the code."""

    def __init__(self) -> None:
        super().__init__()
        # Told in its own words, once they can be read again.
        self._writer = BoundedWriter("this log", _Stderr(), tell=self._tell, pause_s=0.0)
        self._said = Repeats(SAME)
        self._places = Repeats(FROM_ONE_PLACE)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line, said = self.format(record), record.getMessage()
        except Exception as error:  # what somebody wanted to tell is not worth a process
            line = said = f"{record.levelname} {record.name}: {record.msg!r} ({error})"
        now, place = time.monotonic(), (record.pathname, record.lineno)
        # By place first: it bounds how many messages of all kinds come here.
        if (others := self._places.admit(place, now)) is None or (same := self._said.admit((place, said), now)) is None:
            return
        if same + others:
            line += f" ({same + others} more like this were not told)"
        self._writer.add(f"{line}\n".encode(errors="replace"))

    def finish(self) -> None:
        """Write what is there, at the process's end."""
        self._writer.close()

    def _tell(self, sentence: str) -> None:
        logging.getLogger(__name__).warning("%s", sentence)
