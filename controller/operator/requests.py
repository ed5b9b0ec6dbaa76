"""What the API is asked with: the bodies of commands, whose fields are exactly these. Pure."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hitless.component.endpoint import ServiceProtocol

Name = Annotated[str, Field(max_length=256)]
"""Of a service, a node or a component."""


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Migrate(Body):
    """A service goes to a node."""

    service: Name
    node: Name
    hold: bool = False
    """Whether it stays there until it is released."""
    force: bool = False
    """Whether it goes there although the instance there cannot serve now."""


class Release(Body):
    """A service is let go of."""

    service: Name


class Drain(Body):
    """An instance takes no new work."""

    service: Name
    node: Name
    undo: bool = False
    """Let it take new work again."""


class Node(Body):
    """A node gets nothing any more, or may serve again."""

    node: Name


class Restart(Body):
    """A component is launched anew."""

    component: Name
    node: Name | None = None
    """All that have it, one after the other, if null."""


class RotateKeys(Body):
    """Instances get new keys for their reports."""

    service: Name | None = None
    """All, if null."""


def _whole(value: object) -> object:
    """JSON has numbers of one kind: 80.0 is an integer there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Base64 = Annotated[str, Field(pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
"""Bytes in base64."""


class Undeploy(Body):
    """A service that was deployed goes."""

    service: Name


class Deploy(Body):
    """A component goes to the nodes of its service."""

    recipe: Annotated[str, Field(max_length=1 << 20)]
    """The recipe, in YAML or JSON; its artefacts are those of `files` by the last part of their `Uri`."""
    files: dict[str, Base64]
    """Artefacts by file name, in base64."""
    next_patch: bool = False
    """Whether its version is the patch after the newest one that is there."""
    nodes: Annotated[list[Name], Field(max_length=64)] = []
    """Where an instance of a new service is to be; of none where a service names the component already."""
    protocol: ServiceProtocol | None = None
    """Of a new service: tcp is HTTP. Null: as `protocol` in the recipe's configuration says, else tcp."""
    port: Annotated[int, Field(ge=1, le=65535), BeforeValidator(_whole)] | None = None
    """Of a new service; a free one if null."""
