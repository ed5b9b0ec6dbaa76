"""Start ``python -m experiments``."""

import signal

# Until there is something to clean up, Ctrl-C just ends the process: a traceback out of an import helps nobody.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from experiments.cli import main  # noqa: E402

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
