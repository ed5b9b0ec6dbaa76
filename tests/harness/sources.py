"""The public repositories that the harness runs, each at one commit, brought from wherever they can be had."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

GITHUB = "https://github.com/{owner}/{name}"
"""Where repositories are unless told otherwise; a mirror's place is written the same way."""

PATIENCE_S = 300.0


class NotHad(Exception):
    """Something of others that cannot be had or run here: one sentence."""


@dataclass(frozen=True)
class Source:
    """A repository at a commit; `paths` are what is used of it."""

    owner: str
    name: str
    commit: str
    paths: tuple[str, ...]


TUTORIALS = Source("p4lang", "tutorials", "dc1b049be49c210eb38e2c815d245704826fd9f6", ("exercises", "utils", "bin"))
P4_UTILS = Source("nsg-ethz", "p4-utils", "83b118bbae530b31cc74e7fa32f9174f7c0a1184", ("p4utils",))
FINSY_PATHS = ("pyproject.toml", "finsy", "tests", "examples", "ci")
FINSY = Source("byllyfish", "finsy", "491a6e2ac67473ec2ee9a94601f6107ae5d76e7b", FINSY_PATHS)

BMV2_PATHS = ("thrift_src", "targets/simple_switch/thrift", "tools")
BMV2 = Source("p4lang", "behavioral-model", "9674187f610c81878e3586f9a1746dcc7f903114", BMV2_PATHS)
GO_CLIENT = Source("antoninbas", "p4runtime-go-client", "de3748d9d85953f1fa7093ca441aca53dfc9008b", ("cmd", "pkg"))
P4RUNTIME = Source("p4lang", "p4runtime", "cda8101d77b5d17958a2925d054dcb75d4af1b50", ("go",))
"""Of 1.4.0-rc.5, for which the Go client is written."""


def bring(source: Source, base: str, into: Path) -> Path:
    """The folder of a repository's clone at its commit, made unless it is there. Raises NotHad."""
    place = into / f"{source.owner}+{source.name}"
    url = base.format(owner=source.owner, name=source.name)
    try:
        if not place.exists():
            # what is not used is not fetched, from where that can be said
            _git(None, "clone", "--quiet", "--no-checkout", "--filter=blob:none", url, str(place))
        _git(place, "sparse-checkout", "set", "--no-cone", *(f"/{path}" for path in source.paths))
        if _git(place, "rev-parse", "HEAD") != source.commit or not _git(place, "ls-files", "--cached"):
            _git(place, "fetch", "--quiet", url)
            _git(place, "checkout", "--quiet", "--detach", source.commit)
    except (subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        reason = said.splitlines()[-1] if said else "git said nothing"
        raise NotHad(f"{url} at {source.commit[:12]} cannot be cloned: {reason}") from error
    return place


def _git(place: Path | None, *arguments: str) -> str:
    command = ["git", *(["-C", str(place)] if place else []), *arguments]
    # nobody is asked for a password
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home()), "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, env=environment)
    return done.stdout.strip()
