"""The configuration of the Invoke API: one model, mistakes named by line."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from controller.invocations.queue import Policy, Target
from hitless.component.endpoint import ServiceProtocol
from hitless.ipv4 import ipv4_text
from hitless.located import LocatedError, read, validate
from hitless.mqtt.topics import PREFIX

_STRICT = ConfigDict(frozen=True, extra="forbid")
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(LocatedError):
    """A configuration that cannot be used; a line for each mistake."""


def origin(url: str) -> str | None:
    """Scheme, host and port of a URL over HTTP; None if it is no such URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _origin(text: str) -> str:
    found = origin(text)
    if found is None or urlsplit(text).path not in ("", "/") or urlsplit(text).query:
        raise ValueError("expected scheme, host and port, such as http://10.0.0.7:8080")
    return found


def _topic(text: str) -> str:
    if not text or set(text) & set("+#\0") or text.startswith(("$", PREFIX)):
        raise ValueError(f"expected an MQTT topic without wildcards that does not begin with $ or {PREFIX}")
    return text


class Listen(BaseModel):
    """Where AWS's clients find it."""

    model_config = _STRICT

    address: Annotated[str, AfterValidator(ipv4_text)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9001
    """0: one that is free, which the log tells."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.address).is_loopback


class Mqtt(BaseModel):
    """A topic that is told of each dead letter, and the broker."""

    model_config = _STRICT

    topic: Annotated[str, AfterValidator(_topic)]
    host: Annotated[str, Field(min_length=1)]
    port: Port = 8883
    credentials: Path | None = None
    """JSON {username, password}."""
    tls: Path | None = None
    """Folder with `ca.crt`, `tls.crt` and `tls.key`."""


class OnFailure(BaseModel):
    """Who else is told of a dead letter, with Lambda's record for destinations."""

    model_config = _STRICT

    mqtt: Mqtt | None = None
    service: str | None = None
    """The name of a service or a component, which gets the record as its event."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The same for the queue."""
        given: dict[Target, object] = {"mqtt": self.mqtt, "service": self.service}
        return tuple(target for target, value in given.items() if value is not None)


class Named(BaseModel):
    """A function, where no controller is asked."""

    model_config = _STRICT

    component: str
    version: str | None = None
    service_id: Annotated[int, Field(ge=1, lt=1 << 16)]
    address: Annotated[str, AfterValidator(ipv4_text)]
    port: Port
    protocol: ServiceProtocol


class Settings(BaseModel):
    """All of it. Times are seconds."""

    model_config = _STRICT

    listen: Listen = Listen()
    tls: Path | None = None
    """Folder with `ca.crt`, `tls.crt` and `tls.key`: HTTPS in place of HTTP."""
    access_keys: Path | None = None
    """File in the form of AWS's shared credentials: requests must be signed with one of its keys. Without it,
    signatures are not looked at, and `listen.address` must be a loopback address."""
    invoke_key: Path
    """File of the key that the nodes' agents have as `invoke_key`: 64 hexadecimal digits."""
    queue: Path
    """Folder of the invocations that wait, and of the dead letters."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Of the ARNs."""
    timeout: Seconds = 900.0
    """For an answer; the function's own `timeout_ms` is usually shorter."""
    retries: tuple[Seconds, ...] = (60.0, 120.0)
    """Pauses before each further execution of an asynchronous invocation that the function has failed."""
    max_age: Seconds = 6 * 3600.0
    max_pending: Annotated[int, Field(ge=1)] = 10_000
    max_megabytes: Annotated[int, Field(ge=1)] = 1000
    """Of all payloads that wait (10^6 bytes)."""
    at_a_time: Annotated[int, Field(ge=1)] = 64
    """Asynchronous invocations under way; a quarter of them, at least one, of one service."""
    keep_results: Seconds = 3600.0
    """The result of an asynchronous request over HTTP, for who asks."""
    callbacks: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Scheme, host and port of each address that may be called back; others are refused."""
    tell_for: Seconds = 24 * 3600.0
    """So long a callback or a notice of a dead letter is tried again."""
    on_failure: OnFailure = OnFailure()
    functions: dict[str, Named] | None = None
    """By service; without it, the controller is asked."""

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.access_keys is None and not self.listen.is_loopback:
            raise ValueError(
                f"listen.address {self.listen.address} can be reached from other machines: expected access_keys, "
                "so that requests must be signed, or a loopback address"
            )
        return self

    def policy(self) -> Policy:
        """What the queue goes by."""
        return Policy(
            retries=self.retries,
            max_age=self.max_age,
            tell_for=self.tell_for,
            keep_results=self.keep_results,
            on_failure=self.on_failure.targets,
            max_pending=self.max_pending,
            max_bytes=self.max_megabytes * 1_000_000,
            at_a_time=self.at_a_time,
            of_one_service=max(1, self.at_a_time // 4),
        )


def load(path: Path) -> Settings:
    """Read a configuration (YAML). Raises SettingsError."""
    return validate(read(path, SettingsError), Settings, SettingsError)
