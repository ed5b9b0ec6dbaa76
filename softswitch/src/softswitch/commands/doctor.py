"""`softswitch doctor`: what would break with these interfaces, before anything does."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from softswitch.commands.arguments import Parser
from softswitch.doctor.diagnosis import PROBLEM, examine
from softswitch.doctor.machine import Finding
from softswitch.doctor.reading import read
from softswitch.engine.engine import IO

EXIT_PROBLEM = 2

_EPILOG = """\
example:
  softswitch doctor veth1 veth2

Run it as the user and in the network namespace that the switch is to run as and in, before the switch. It changes
nothing.

exit codes: 0 nothing would break (there may be warnings), 1 something given is wrong, 2 something would break
"""


def build_parser() -> Parser:
    """The options of `softswitch doctor`."""
    parser = Parser("softswitch doctor", "Tell what would break with interfaces as ports of a switch.", _EPILOG)
    parser.add_argument("interfaces", nargs="+", metavar="IFACE", help="that are to be ports of one switch")
    parser.add_argument("--io", choices=IO, default=IO[0], help="as the switch is to have it; default %(default)s")
    parser.add_argument("--json", action="store_true", help="findings as JSON on standard output")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        findings = examine(options.interfaces, read(), options.io)
    except OSError as error:
        print(f"softswitch: cannot ask the kernel: {error.strerror or error}", file=sys.stderr)
        return 1
    breaks = any(finding.level == PROBLEM for finding in findings)
    if options.json:
        print(json.dumps({"ok": not breaks, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print("\n".join([*map(_shown, findings), *([] if breaks else ["nothing would break"])]))
    return EXIT_PROBLEM if breaks else 0


def _shown(finding: Finding) -> str:
    about = f"{finding.about} " if finding.about else ""
    todo = f"\n         {finding.todo}" if finding.todo else ""
    return f"{finding.level:8} {about}{finding.text}{todo}"
