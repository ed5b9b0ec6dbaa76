"""What the command lines of softswitch have in common: one sentence and exit code 1 for a mistake."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from softswitch.bmv2.v1model import MAX_PORT

DEFAULT_ADDRESS = "127.0.0.1:9559"
"""Where a switch serves unless told otherwise."""


class Parser(argparse.ArgumentParser):
    """Options are never abbreviated, epilogs keep their lines."""

    def __init__(self, prog: str, description: str, epilog: str, usage: str | None = None) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=32, width=110),
        )

    def error(self, message: str) -> NoReturn:
        """End with one sentence."""
        self.exit(1, f"softswitch: {message}; see {self.prog} --help\n")


def port_and(what: str, example: str) -> Callable[[str], tuple[int, str]]:
    """A converter of `PORT@NAME`; `what` and `example` are for the sentence that a mistake gets."""

    def convert(text: str) -> tuple[int, str]:
        port, at, name = text.partition("@")
        if not at or not name or not port.isdecimal():
            raise argparse.ArgumentTypeError(f"{text!r} is not PORT@{what}, such as {example}")
        return port_number(port), name

    return convert


def device_id(text: str) -> int:
    """A device id of P4Runtime: 64 bits."""
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a device id in 0..2^64-1")
    return int(text)


def port_number(text: str) -> int:
    """A port of v1model: nine bits."""
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number in 0..{MAX_PORT}")
    return int(text)
