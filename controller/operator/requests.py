"""What the API is asked with: the bodies of commands, whose fields are exactly these. Pure."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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
