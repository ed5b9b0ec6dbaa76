"""The command `hitless new`: a folder with a function that works, to go on from."""

import re
from pathlib import Path
from string import Template

import click

from controller.operator.options import NOT_DONE, fail

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each language and one for all. `${...}` in a file is filled in, `.template` taken off its name."""
COMMON = "common"
LANGUAGES = ("python", "node", "c", "wasm-c", "wasm-rust")
COMPILED = ("c", "wasm-c", "wasm-rust")
EVENTLESS = ("wasm-c", "wasm-rust")
"""Whose functions get the request itself."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option("--language", type=click.Choice(LANGUAGES), default="python", show_default=True)
@click.option("--protocol", type=click.Choice(["http", "udp"]), default="http", show_default=True)
def new(folder: Path, language: str, protocol: str) -> None:
    """Make a folder NAME with a function that works: handler, recipe, version, and an event to try a handler with.

    Its service is called as the folder, its component org.example. and that. `hitless deploy NAME` rolls it out.
    """
    try:
        files = rendered(folder.name, language, protocol)
    except ValueError as error:
        fail(str(error), NOT_DONE)
    if folder.exists():
        fail(f"{folder} is there already: choose another name, or take it away", NOT_DONE)
    try:
        folder.mkdir(parents=True)
        for name, (content, mode) in files.items():
            (folder / name).write_text(content)
            (folder / name).chmod(mode)
    except OSError as error:
        fail(f"{folder}: {error.strerror}", NOT_DONE)
    click.echo(f"{folder}: a function in {language}, over {protocol}: {', '.join(files)}")
    build = f"make -C {folder} && " if language in COMPILED else ""
    click.echo(f"next: {build}hitless deploy {folder} --node NODE")


def rendered(name: str, language: str, protocol: str) -> dict[str, tuple[str, int]]:
    """The files of a new function by name, with their permissions. Raises ValueError."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"expected a name of letters, digits, _ and - that begins with a letter, got {name!r}")
    values = {"name": name, "component": component_name(name), "protocol": protocol}
    files = {}
    for path in sorted([*(TEMPLATES / COMMON).iterdir(), *(TEMPLATES / language).iterdir()]):
        stem = path.name.removesuffix(".template")
        if stem.startswith(("http.", "udp.")):
            kind, _, stem = stem.partition(".")
            if kind != protocol or language in EVENTLESS:
                continue
        files[stem] = Template(path.read_text()).substitute(values), path.stat().st_mode & 0o111 | 0o644
    return files


def component_name(name: str) -> str:
    """The component of a service: `face-finder` is served by `org.example.FaceFinder`."""
    return "org.example." + "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_]+", name))
