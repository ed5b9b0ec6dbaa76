"""The fabric file: the one place that says what switches, hosts, nodes and services there are."""

from pathlib import Path

from controller.fabric.checks import mistakes
from controller.fabric.schema import Fabric, Host, Instance, Node, Service, SwitchSpec
from hitless.located import LocatedError, read, validate

__all__ = [
    "Fabric",
    "FabricError",
    "Host",
    "Instance",
    "Node",
    "Service",
    "SwitchSpec",
    "load",
]


class FabricError(LocatedError):
    """The fabric file cannot be used; the text lists every mistake, a line each."""


def load(path: str | Path) -> Fabric:
    """Read and check a fabric file. Raises FabricError, whose text names every mistake by file, line and field."""
    source = read(Path(path), FabricError)
    fabric = validate(source, Fabric, FabricError)
    found = [source.mistake(location, problem) for location, problem in mistakes(fabric)]
    if found:
        raise FabricError(sorted(found, key=lambda mistake: mistake.line))
    if fabric.broker.credentials is None:
        return fabric
    credentials = str(Path(path).absolute().parent / fabric.broker.credentials)
    return fabric.model_copy(update={"broker": fabric.broker.model_copy(update={"credentials": credentials})})
