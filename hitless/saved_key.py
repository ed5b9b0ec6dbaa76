"""A key of reports as JSON carries it: in the files of controller and agent, and to the emitter."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from hitless.wire.report import KEY_SIZE, Key


class SavedKey(BaseModel):
    """A key, its secret in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[int, Field(ge=1, le=255)]
    secret: Annotated[str, Field(repr=False, pattern=rf"^[0-9a-f]{{{2 * KEY_SIZE}}}$")]

    @classmethod
    def of(cls, key: Key) -> Self:
        """The form of a key."""
        return cls(id=key.id, secret=key.secret.hex())

    def key(self) -> Key:
        """The key."""
        return Key(self.id, bytes.fromhex(self.secret))
