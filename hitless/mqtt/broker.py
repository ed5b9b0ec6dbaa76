"""Where the MQTT broker is, and who one is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hitless.tls import Identity

_STRICT = ConfigDict(frozen=True, extra="forbid")


class CredentialsError(Exception):
    """A file of credentials that cannot be used; says which and what was expected."""


class Credentials(BaseModel):
    """An identity at the broker. Its JSON is what a file of credentials holds."""

    model_config = _STRICT

    username: Annotated[str, Field(min_length=1)]
    password: Annotated[str, Field(repr=False)]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of credentials. Raises CredentialsError."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise CredentialsError(f"credentials {path}: {error.strerror}") from error
        except ValidationError:  # its text would show the password
            raise CredentialsError(
                f'credentials {path}: expected JSON {{"username": "...", "password": "..."}}'
            ) from None


class BrokerSettings(BaseModel):
    """Where the broker listens, and one's identity there: by certificate, by user name, or none."""

    model_config = _STRICT

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    username: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    tls: Path | None = None
    """Folder with `ca.crt`, `tls.crt` and `tls.key`, read at each connection; without it, all is in clear."""

    @classmethod
    def of(cls, host: str, port: int, identity: Credentials | None = None, *, tls: Path | None = None) -> Self:
        """The settings of one who has this identity."""
        return cls(host=host, port=port, tls=tls, **(identity.model_dump() if identity is not None else {}))

    def identity(self) -> str | None:
        """The name that one has there; None without one. Raises TlsError."""
        if self.username is None and self.tls is not None:
            return Identity(self.tls).certificate().name
        return self.username

    @property
    def place(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"
