"""The load balancers: how each is started, and of which version it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ADDRESS, PORT = "10.0.0.20", 8000
"""Where each of them serves, by its configuration file."""
AGENT_PORTS = {"edge1": 9701, "edge2": 9702}
"""Where the agent answers for each node, by HAProxy's."""
PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where programs are looked for: Debian has these where only root's path leads."""


class PeerMissing(Exception):
    """A program that is not installed; says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One load balancer."""

    program: str
    """Also the name of its distribution package."""
    configuration: tuple[str, ...]
    """Files of this folder."""
    option: str
    """Before the name of each."""
    options: tuple[str, ...]
    """Before them."""
    prefixed: bool = False
    """Whether an option tells it of the folder for what it writes."""

    @property
    def files(self) -> list[Path]:
        """Its configuration."""
        return [HERE / name for name in self.configuration]

    @property
    def path(self) -> str:
        """The program. Raises PeerMissing."""
        found = shutil.which(self.program, path=PLACES)
        if found is None:
            raise PeerMissing(f"{self.program} is not installed: apt-get install it, or leave it out (--only)")
        return found

    def command(self, folder: Path, node: str = "") -> list[str]:
        """How to run it in the foreground. `folder` is for its files; `node` is the address of the one that it begins
        with, where its configuration has one at a time. Raises PeerMissing."""
        prefix = ["-p", f"{folder}/"] if self.prefixed else []
        files = [word for file in self.files for word in (self.option, str(file))]
        return [*variables(folder, node), self.path, *prefix, *self.options, *files]

    def text(self) -> str:
        """All of its configuration."""
        return "".join(file.read_text() for file in self.files)

    def version(self) -> str:
        """What it calls itself. Raises PeerMissing."""
        asked = "version" if self.program == "caddy" else "-v"
        done = subprocess.run([self.path, asked], capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).splitlines()[0].strip()


def variables(folder: Path, node: str = "") -> list[str]:
    """What goes before a command for the variables that configuration files name."""
    return ["env", f"FOLDER={folder}", f"NODE={node}", f"XDG_CONFIG_HOME={folder}", f"XDG_DATA_HOME={folder}"]


PROXIES: Mapping[str, Proxy] = {
    "haproxy": Proxy("haproxy", ("haproxy.cfg", "haproxy-leastconn.cfg"), "-f", ("-db",)),
    "haproxy-backup": Proxy("haproxy", ("haproxy.cfg", "haproxy-backup.cfg"), "-f", ("-db",)),
    "nginx": Proxy("nginx", ("nginx.conf",), "-c", ("-e", "stderr", "-g", "daemon off;"), prefixed=True),
    "caddy": Proxy("caddy", ("Caddyfile",), "--config", ("run", "--adapter", "caddyfile")),
}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of each one's program. Raises PeerMissing."""
    return {(one := PROXIES[name]).program: one.version() for name in names}
