"""Make a virtual environment and install into it: ``python topologies/environment.py .venv --group test``.

uv does it, a tenth of pip's work for the same packages. pip, which every Python has, brings uv, and stands in for it
where there is no uv to be had. Both find packages at the same places: uv gets pip's settings, which it does not read
by itself. Runs on the system's Python before anything of ours is installed, so it needs nothing but Python.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv"
"""The group of `pyproject.toml` that pins the installer."""
PIP_WITH_GROUPS = "pip>=25.1"
"""What `pip install --group` takes."""

VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
}
"""pip's settings, and the variables by which uv takes them."""
LISTS = {"UV_FIND_LINKS": ","}
"""What parts the values of a list, where it is not the space."""


class NotInstalled(Exception):
    """A step failed; says which. What the tool had to say stands above."""


def main() -> None:
    """Do it; exits with 1 and a sentence if it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("environment", type=Path)
    parser.add_argument("--group", action="append", default=[], help="a dependency group of pyproject.toml")
    parser.add_argument("--compile", action="store_true", help="compile what is there, for users who cannot write here")
    parser.add_argument("--editable", action="append", default=[], help="a project folder")
    given = parser.parse_args()
    began = time.monotonic()
    try:
        python = create(given.environment)
        install(python, given.group, given.editable, compiled=given.compile)
    except NotInstalled as error:
        print(f"setup: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("setup: stopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
    print(f"setup: {given.environment} is ready, after {time.monotonic() - began:.0f} s", flush=True)


def create(environment: Path) -> Path:
    """Make the environment unless it is there and whole; returns its Python."""
    python = environment / "bin" / "python"
    if python.exists() and quietly(python, "-m", "pip", "--version") is not None:
        return python
    print(f"setup: {environment}: a virtual environment on {sys.executable}", flush=True)
    step("make the environment", sys.executable, "-m", "venv", "--clear", "--system-site-packages", environment)
    return python


def install(python: Path, groups: Sequence[str], projects: Sequence[str], *, compiled: bool) -> None:
    """Install groups of `pyproject.toml`, and projects to be used where they lie, with what they need.

    Raises NotInstalled.
    """
    wanted = [f"--group={group}" for group in groups] + [f"--editable={project}" for project in projects]
    (pinned,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"][UV]
    print(f"setup: Python packages, by {pinned}", flush=True)
    own = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if subprocess.run([python, "-m", "pip", "install", "-q", pinned], env=own, check=False).returncode == 0:
        uv = [str(python.parent / "uv"), "pip", "install", "--python", str(python), *wanted]
        uv += ["--compile-bytecode"] if compiled else []
        settings = uv_settings(pip_settings(python), os.environ)
        if run_telling(uv, {**os.environ, **settings}) == 0:
            return
    print("setup: uv could not do it; now by pip, which takes longer", flush=True)
    step("bring pip up to date", python, "-m", "pip", "install", "-q", "--upgrade", PIP_WITH_GROUPS)
    step("install the packages", python, "-m", "pip", "install", *wanted)


def uv_settings(pip: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that let uv find what pip finds. What the environment says to uv itself goes first. Pure."""
    settings = {"UV_LINK_MODE": "copy"}  # the cache may lie on another file system
    for name, value in pip.items():
        if (variable := VARIABLES.get(name)) is not None:
            settings[variable] = LISTS.get(variable, " ").join(value.split())
    if "UV_INDEX" in settings:
        # pip takes the best version of all indexes together.
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in settings.items() if name not in environment}


def pip_settings(python: Path) -> dict[str, str]:
    """What pip's files and variables say of `pip install`, by option."""
    return parse_settings(quietly(python, "-m", "pip", "config", "list") or "")


def parse_settings(listed: str) -> dict[str, str]:
    """The settings that `pip config list` prints, of which [install] wins over [global], and a variable over both."""
    settings: dict[str, str] = {}
    for wanted in ("global", "install", ":env:"):
        for line in listed.splitlines():
            place, _, value = line.partition("=")
            section, _, name = place.rpartition(".")
            if section == wanted:
                settings[name] = str(ast.literal_eval(value))
    return settings


def run_telling(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run uv, and pass on what it says, less a line for every package."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, bufsize=1)
    assert process.stderr is not None
    with process.stderr as told:
        for line in told:
            if not line.startswith((" + ", " - ", " ~ ")):
                print(f"  {line.strip()}", flush=True)
    return process.wait()


def quietly(*command: str | Path) -> str | None:
    """What a command prints; None if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def step(what: str, *command: str | Path) -> None:
    """Run a command to its end. Raises NotInstalled."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise NotInstalled(
            f"could not {what} ({' '.join(map(str, command[:6]))} …): mend what it says above, then again"
        )


if __name__ == "__main__":
    main()
