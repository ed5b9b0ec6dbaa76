"""The commands that the documents show, and who runs each: a command that nobody runs may be wrong for years."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
    "p4src/README.md",
    "softswitch/README.md",
)
HERE = "tests/docs/test_commands.py"
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A line of a document's shell block, lines that a backslash continues joined."""

    document: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, without a comment."""
        return shlex.split(self.text, comments=True)


@dataclass(frozen=True)
class Runner:
    """The test that runs some commands of a document."""

    document: str
    commands: str
    """What the commands begin with, as a regular expression."""
    test: str
    """`FILE::NAME`."""


API = "tests/controller_app/test_docs.py"
REMOTE = "tests/attacks/test_api.py::test_the_command_line_reaches_it_with_a_token"
AUTHORITY = "tests/controller/test_authority.py::test_the_command_makes_what_a_fabric_needs_and_says_how_long_it_lasts"
LAMBDA = "tests/controller_app/test_lambda_api.py"
UNITS = "tests/packaging/test_units.py"
INSTALL = "tests/softswitch/test_install.py"
SECRETS = "tests/agent/test_secrets.py::test_the_commands_of_the_page_run"
RUNNERS = (
    Runner("README.md", "make ", f"{HERE}::test_make_has_the_target"),
    Runner("README.md", r"\.venv/bin/hitless ", f"{HERE}::test_commands_work_on_a_live_fabric"),
    Runner("CONTRIBUTING.md", "make ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/api.md", "SOCKET=", f"{API}::test_the_curl_lines_run"),
    Runner(
        "docs/api.md",
        "curl .*/(status|events|openapi|drain|exclude|include|release|rotate-keys)",
        f"{API}::test_the_curl_lines_run",
    ),
    Runner("docs/api.md", "curl .*/restart", f"{API}::test_the_curl_line_that_restarts_runs"),
    Runner(
        "docs/api.md", "curl .*/(deploy|undeploy|logs)", f"{API}::test_the_curl_lines_that_deploy_and_read_logs_run"
    ),
    Runner("docs/api.md", "curl .*/migrate", f"{API}::test_the_curl_line_that_migrates_runs"),
    Runner("docs/api.md", "hitless (token|--api) ", REMOTE),
    Runner("docs/api.md", "hitless authority ", AUTHORITY),
    Runner("docs/security.md", "hitless authority ", AUTHORITY),
    Runner("docs/compatibility.md", r"\.venv/bin/python -m greengrass_agent\.secrets ", SECRETS),
    Runner("docs/contributing.md", "make test ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/congestion.md", "make experiment ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/connections.md", "make experiment ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/detection.md", "make experiment ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/failures.md", "make experiment ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/functions.md", "make up", f"{HERE}::test_make_has_the_target"),
    Runner(
        "docs/functions.md",
        r"(! )?(\.venv/bin/hitless (new|deploy|undeploy|invoke|logs|migrate) |sed |echo |make -C )",
        f"{HERE}::test_commands_work_on_a_live_fabric",
    ),
    Runner("docs/functions.md", r"\.venv/bin/hitless check ", f"{HERE}::test_hitless_check_finds_no_mistake"),
    Runner("docs/moves.md", "make experiment ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/invoke.md", "hitless lambda-api ", f"{LAMBDA}::test_a_function_is_called_by_each_of_its_names"),
    Runner("docs/invoke.md", "hitless dead-letters ", f"{LAMBDA}::test_an_event_that_fails_is_retried_twice"),
    Runner("docs/metrics.md", "curl ", f"{HERE}::test_commands_work_on_a_live_fabric"),
    Runner("docs/operations.md", "make ", f"{HERE}::test_make_has_the_target"),
    Runner("docs/operations.md", r"(\.venv/bin/hitless |curl )", f"{HERE}::test_commands_work_on_a_live_fabric"),
    Runner("docs/operations.md", "(git|cp|systemctl|journalctl) ", f"{UNITS}::test_the_page_installs_what_is_there"),
    Runner("docs/softswitch.md", "make harness", f"{HERE}::test_make_has_the_target"),
    Runner("docs/softswitch.md", "softswitch run ", f"{HERE}::test_softswitch_runs_on_capture_files"),
    Runner("docs/softswitch.md", "softswitch (--|port )", f"{HERE}::test_softswitch_serves_and_its_ports_change"),
    Runner(
        "docs/softswitch.md", "softswitch -i ", "tests/softswitch/test_cli.py::test_thrift_is_served_where_it_is_told"
    ),
    Runner(
        "docs/softswitch.md",
        "simple_switch_CLI ",
        "tests/softswitch/thrift/test_simple_switch_cli.py::test_prints_what_it_prints_with_bmv2",
    ),
    Runner("softswitch/README.md", "pip install ", f"{INSTALL}::test_it_brings_at_most_ten_packages"),
)


def commands(document: str, text: str | None = None) -> list[Command]:
    """The commands in a document's blocks of `sh`; `text` is in place of the document's."""
    found = []
    for _, block in _BLOCK.findall((ROOT / document).read_text() if text is None else text):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        found += [Command(document, line.strip()) for line in lines if shlex.split(line, comments=True)]
    return found


ALL = tuple(command for document in DOCUMENTS for command in commands(document))


def runners(command: Command) -> list[Runner]:
    """Who runs a command."""
    return [one for one in RUNNERS if one.document == command.document and re.match(one.commands, command.text)]


def run_by(name: str) -> list[Command]:
    """The commands that a test of `test_commands.py` runs, in the order of the documents."""
    return [command for command in ALL if any(one.test == f"{HERE}::{name}" for one in runners(command))]
