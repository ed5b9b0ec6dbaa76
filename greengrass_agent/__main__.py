"""Start ``python -m greengrass_agent``."""

import signal

# Until there is something to clean up, Ctrl-C just ends the process: a traceback out of an import helps nobody.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from greengrass_agent.command import main  # noqa: E402

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="python -m greengrass_agent")
