"""The values of a fabric file: how single ones are written."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated

from pydantic import BeforeValidator, Field

from hitless.ipv4 import ipv4
from hitless.words import CPU_PORT

MAX_PORT = CPU_PORT - 1
"""The last port of a switch that a host can sit on."""


def _mac(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", value):
        raise ValueError('expected a MAC address such as "02:00:00:00:00:01"')
    if int(value[:2], 16) & 1:
        raise ValueError("expected the MAC address of one interface (its first octet is even), not of a group")
    return value.lower()


def endpoint(value: object) -> object:
    """Host and port, or the path of a socket. Raises ValueError."""
    if not isinstance(value, str) or not re.fullmatch(r"[^:\s]+:\d{1,5}|unix:/\S+", value):
        raise ValueError("expected host:port such as 192.168.255.1:9559, or unix:/path/of/a/socket")
    return value


@dataclass(frozen=True, slots=True)
class Described:
    """What may stand in a field, in words, where its type does not say it."""

    text: str


Address = Annotated[IPv4Address, BeforeValidator(ipv4), Described("IPv4 address")]
Mac = Annotated[str, BeforeValidator(_mac), Described("MAC address in quotes")]
Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
TransportPort = Annotated[int, Field(ge=1, le=65535)]
Id = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64), Described("name: letters, digits, _ -")
]
ComponentName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=128), Described("name of a component")
]
Identity = Annotated[str, Field(min_length=1, max_length=64), Described("name of a certificate or token")]
