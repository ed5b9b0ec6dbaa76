"""The fabric file: the one place that says what switches, hosts, nodes and services there are."""

from collections.abc import Sequence
from pathlib import Path

from controller.fabric.checks import mistakes
from controller.fabric.schema import Fabric, Host, Instance, Node, Part, Service, SwitchSpec
from hitless.located import LocatedError, Location, read, validate

__all__ = [
    "Fabric",
    "FabricError",
    "Host",
    "Instance",
    "Node",
    "Service",
    "SwitchSpec",
    "load",
    "refuse",
]


class FabricError(LocatedError):
    """The fabric file cannot be used; the text lists every mistake, a line each."""


def load(path: str | Path) -> Fabric:
    """Read and check a fabric file. Raises FabricError, whose text names every mistake by file, line and field."""
    source = read(Path(path), FabricError)
    fabric = validate(source, Fabric, FabricError)
    refuse(Path(path), list(mistakes(fabric)))
    return _located(fabric, Path(path).absolute().parent)


def refuse(path: Path, found: Sequence[tuple[Location, str]]) -> None:
    """Raise FabricError if anything was found in a fabric file: what is wrong, and where it stands."""
    if found:
        source = read(path, FabricError)
        mistakes = (source.mistake(location, problem) for location, problem in found)
        raise FabricError(sorted(mistakes, key=lambda mistake: mistake.line))


def _located(fabric: Fabric, folder: Path) -> Fabric:
    """The same with the paths in it taken from the file's folder."""

    def absolute(part: Part, *names: str) -> dict[str, str]:
        return {name: str(folder / value) for name in names if (value := getattr(part, name)) is not None}

    broker, tls, api = fabric.broker, fabric.tls, fabric.api
    return fabric.model_copy(
        update={
            "broker": broker.model_copy(update=absolute(broker, "credentials")),
            "tls": tls.model_copy(update=absolute(tls, "bus", "switches")),
            "api": api and api.model_copy(update=absolute(api, "tokens")),
        }
    )
