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
    """Whether it is told of a folder for what it writes."""

    @property
    def path(self) -> str:
        """The program. Raises PeerMissing."""
        found = shutil.which(self.program, path=PLACES)
        if found is None:
            raise PeerMissing(f"{self.program} is not installed: apt-get install it, or leave it out (--only)")
        return found

    def command(self, folder: Path) -> list[str]:
        """How to run it in the foreground; `folder` is for its files. Raises PeerMissing."""
        prefix = ["-p", f"{folder}/"] if self.prefixed else []
        files = [word for name in self.configuration for word in (self.option, str(HERE / name))]
        return [self.path, *prefix, *self.options, *files]

    def text(self) -> str:
        """All of its configuration."""
        return "".join((HERE / name).read_text() for name in self.configuration)

    def version(self) -> str:
        """What it calls itself. Raises PeerMissing."""
        done = subprocess.run([self.path, "-v"], capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).splitlines()[0].strip()


PROXIES: Mapping[str, Proxy] = {
    "haproxy": Proxy("haproxy", ("haproxy.cfg", "haproxy-leastconn.cfg"), "-f", ("-db",)),
    "haproxy-backup": Proxy("haproxy", ("haproxy.cfg", "haproxy-backup.cfg"), "-f", ("-db",)),
    "nginx": Proxy("nginx", ("nginx.conf",), "-c", ("-e", "stderr", "-g", "daemon off;"), prefixed=True),
}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of each one's program. Raises PeerMissing."""
    return {(one := PROXIES[name]).program: one.version() for name in names}
