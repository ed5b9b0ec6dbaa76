"""Python environments of components: a virtual environment each, on the interpreter that the agent's own rests on.

    <folder>/<key>/venv/                    bin/python3, bin/pip, lib/python3.x/site-packages
    <folder>/<key>/complete                 made at last: what a killed agent has left without it is made anew

Behind an environment's own packages come the agent's, so that functions have numpy and the function runtime without
a download; what pip installs goes into the environment alone. One with requirements belongs to whoever has the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import hitless

REQUIREMENTS = "requirements.txt"
"""The artefact whose packages are installed when the component is deployed."""
_SHORT = 32
_PIP = '#!/bin/sh\nexec "$(dirname "$0")/python3" -m pip "$@"\n'
# What a requirement may hold that means something else where other files lie beside it: a path, an address, an archive.
_ELSEWHERE = re.compile(r"[/\\@]|\.(whl|zip|tar|gz|tgz|bz2|xz)\b|\s-")


@dataclass(frozen=True, slots=True)
class NodePython:
    """What all environments of a node rest on."""

    interpreter: Path
    """The interpreter of the distribution, or wherever the agent's own comes from."""
    base: Path
    """Where that one is installed."""
    version: tuple[int, int, int]
    packages: tuple[Path, ...]
    """Folders of the agent's own packages."""
    distribution: bool
    """Whether the distribution's packages can be imported too."""
    runtime: Path
    """The package `hitless`."""

    @classmethod
    def own(cls) -> NodePython:
        """What the agent itself runs on."""
        base = Path(sys.base_prefix)
        folders = [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
        virtual = sys.prefix != sys.base_prefix
        packages = [folder for folder in folders if virtual and folder.is_relative_to(sys.prefix)]
        return cls(
            Path(getattr(sys, "_base_executable", sys.executable)),
            base,
            sys.version_info[:3],
            tuple(packages),
            not virtual or len(packages) < len(folders),
            Path(hitless.__file__).resolve().parent,
        )

    @property
    def folders(self) -> tuple[Path, ...]:
        """What a script must be able to read."""
        return (self.base, self.interpreter, self.runtime, *self.packages)


def create(venv: Path, python: NodePython) -> None:
    """Make a virtual environment without packages of its own. Raises OSError."""
    site = venv / "lib" / "python{}.{}".format(*python.version) / "site-packages"
    runtime, programs = venv / "lib" / "node", venv / "bin"
    for folder in (site, runtime, programs):
        folder.mkdir(parents=True)
    (runtime / "hitless").symlink_to(python.runtime)
    (programs / "python3").symlink_to(python.interpreter)
    (programs / "python").symlink_to("python3")
    for name in ("pip", "pip3"):
        (programs / name).write_text(_PIP)
        (programs / name).chmod(0o755)
    system = "true" if python.distribution else "false"
    (venv / "pyvenv.cfg").write_text(
        f"home = {python.interpreter.parent}\ninclude-system-site-packages = {system}\n"
        "version = {}.{}.{}\n".format(*python.version)
    )
    # The folders' own .pth files count, so a plain line with the folder would not do.
    lines = [f"import site; site.addsitedir({str(folder)!r})" for folder in python.packages]
    (site / "zz-node.pth").write_text("\n".join([str(runtime), *lines]) + "\n")


def key(component: str, digest: str, requirements: bytes | None, python: NodePython) -> str:
    """The name of a component's environment: the same for equal requirements that say all that goes into it. Pure.

    `digest` is that of the component's recipe, in which the digests of its artefacts are.
    """
    if requirements is None or not plain(requirements):
        return f"{component}-{digest[:_SHORT]}"
    made_of = hashlib.sha256(f"{python}\n".encode() + requirements)
    return f"requirements-{made_of.hexdigest()[:_SHORT]}"


def plain(requirements: bytes) -> bool:
    """Whether a requirements file means the same wherever it lies: names, versions, extras, markers, hashes. Pure."""
    text = re.sub(r"\\\r?\n", " ", requirements.decode(errors="replace"))
    lines = (re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip() for line in text.splitlines())
    return all(line[0].isalnum() and not _ELSEWHERE.search(line) for line in lines if line)


@dataclass(frozen=True, slots=True)
class Environment:
    """The place of an environment."""

    folder: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.folder / "venv"

    @property
    def programs(self) -> Path:
        """Where its python3 and pip are."""
        return self.venv / "bin"

    def complete(self, python: NodePython) -> bool:
        """Whether it can be used: it was finished, and rests on what the agent runs on now."""
        try:
            return (self.folder / "complete").read_text() == str(python)
        except FileNotFoundError:
            return False

    def begin(self, python: NodePython) -> None:
        """Make an empty one in place of what may be there. Raises OSError."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        create(self.venv, python)

    def finish(self, python: NodePython) -> None:
        """It can be used from now on. Raises OSError."""
        (self.folder / "complete").write_text(str(python))


def prune(folder: Path, keep: Collection[str]) -> None:
    """Remove the environments below `folder` that have none of these keys."""
    if folder.is_dir():
        for entry in os.scandir(folder):
            if entry.name not in keep:
                shutil.rmtree(entry.path, ignore_errors=True)
