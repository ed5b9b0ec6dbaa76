"""How a component's script is started so that it cannot harm the node: the command line and the environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from greengrass_agent.host import launcher
from greengrass_agent.host.limits import UNLIMITED, Limits
from greengrass_agent.host.users import User
from greengrass_agent.host.view import View

OOM_SCORE: Final = 500
"""When the whole node is out of memory, a component goes before anything of the system."""
PASSED_ON: Final = frozenset(
    {
        *("LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        *(name for proxy in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (proxy, proxy.upper())),
    }
)
"""Variables of the agent that scripts get, beside LC_* and PATH: its others may hold what is not for them."""
_LAUNCHER = Path(launcher.__file__)


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a script may be and see."""

    user: User | None
    """Whom it runs as, without any privilege; None: as the agent."""
    view: View
    """What it sees of the file system; for a user only."""
    folder: Path
    """Its working directory."""
    variables: Mapping[str, str]
    """Its environment."""
    limits: Limits = UNLIMITED
    """What it may use."""

    def command(self, script: str, join_files: Iterable[Path]) -> list[str]:
        """The command line that runs a shell script, confined and in the control groups of these files."""
        specification = {
            "parent": os.getpid(),
            "join": [str(file) for file in join_files],
            "oom_score_adj": OOM_SCORE,
            "user": (self.user.uid, self.user.gid) if self.user is not None else None,
            "folder": str(self.folder),
            "command": ("/bin/sh", "-c", script),
            **asdict(self.view),
        }
        return [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(specification, default=str)]


def variables(ours: Mapping[str, str], search: Sequence[Path], home: Path, user: User | None) -> dict[str, str]:
    """A script's environment: what it may have of `ours`, with programs found in `search` first. Pure.

    The agent's own virtual environment is left out of PATH.
    """
    mine = {"", str(Path(sys.prefix) / "bin")} if sys.prefix != sys.base_prefix else {""}
    path = [str(folder) for folder in search]
    path += [folder for folder in ours.get("PATH", os.defpath).split(os.pathsep) if folder not in mine]
    passed = {name: value for name, value in ours.items() if name in PASSED_ON or name.startswith("LC_")}
    own = {"LOGNAME": user.name, "USER": user.name} if user is not None else {}
    return {
        **passed,
        **own,
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
    }
