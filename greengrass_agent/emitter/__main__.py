"""`python -m greengrass_agent.emitter`: runs a node's emitter. The agent starts it and talks to it over its input."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

from pydantic import ValidationError

from greengrass_agent.emitter.loop import Emitter
from greengrass_agent.emitter.settings import COMMAND, EmitterSettings
from greengrass_agent.host import priority
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.logs.diagnostics import log_to_stderr
from hitless.faults import faults

log = logging.getLogger("greengrass_agent.emitter")


def main() -> None:
    """Report until the input ends or a SIGTERM comes."""
    log_to_stderr(logging.INFO, "%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = COMMAND.validate_json(_first_line())
        if not isinstance(settings, EmitterSettings):
            raise OSError(f"first command is {settings.command}, expected node")
        emitter = Emitter(settings, sys.stdin.fileno(), sys.stdout.fileno())
    except ValidationError as error:
        sys.exit(f"greengrass_agent.emitter: {faults(error, 'command', quoted=False)}")
    except (OSError, CgroupError) as error:
        sys.exit(f"greengrass_agent.emitter: {error}")
    if not priority.realtime():
        log.warning("no real-time scheduling: reports may be late when the machine is busy")
    # What was imported stays: the collector need not look at it again in the middle of a report.
    gc.freeze()
    try:
        emitter.run()
    except CgroupError as error:
        sys.exit(f"greengrass_agent.emitter: {error}: the node's CPU budget has gone")
    finally:
        emitter.close()


def _first_line() -> bytes:
    """Read no further than the first line: the loop reads the rest from the descriptor."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    return line


if __name__ == "__main__":
    main()
