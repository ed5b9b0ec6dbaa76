"""The `hitless` command, also as `python -m controller`."""

import signal

# Until there is something to clean up, Ctrl-C just ends the process: a traceback out of an import helps nobody.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from controller.operator import cli  # noqa: E402


def main() -> None:
    """Run the command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()
