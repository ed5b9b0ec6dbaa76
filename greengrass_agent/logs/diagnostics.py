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
    """Takes records, at most some of each kind (the place in the code) in a while."""

    def __init__(self) -> None:
        super().__init__()
        # Told in its own words, once they can be read again.
        self._writer = BoundedWriter("this log", _Stderr(), tell=self._tell, pause_s=0.0)
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        held_back = self._repeats.admit((record.pathname, record.lineno), time.monotonic())
        if held_back is None:
            return
        try:
            line = self.format(record)
        except Exception as error:  # what somebody wanted to tell is not worth a process
            line = f"{record.levelname} {record.name}: {record.msg!r} ({error})"
        if held_back:
            line += f" ({held_back} more like this were not told)"
        self._writer.add(f"{line}\n".encode(errors="replace"))

    def finish(self) -> None:
        """Write what is there, at the process's end."""
        self._writer.close()

    def _tell(self, sentence: str) -> None:
        logging.getLogger(__name__).warning("%s", sentence)
