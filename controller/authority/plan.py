"""Which certificates there must be, which are due to be renewed, and which authority issues. Pure.

There are two authorities, since who may speak on the bus must not program a switch: a P4Runtime server takes every
client whose certificate its authority has issued. Each is self-signed and has a lifetime; its successor is made long
before its end, is trusted at once and issues only after every folder that is in use has been handed out anew:

    made      in `ca.crt` beside the old one at the next renewal
    issuing   once it is `SPREAD_S` old; each certificate is then renewed from it
    expired   no longer in `ca.crt`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.fabric.schema import Fabric
from hitless.mqtt.identities import BROKER, CONTROLLER, emitter_identity, trigger_identity

DAY_S = 86_400.0
LIFETIME_S = 90 * DAY_S
"""Of a certificate."""
AUTHORITY_LIFETIME_S = 3650 * DAY_S
RENEWED_S = LIFETIME_S / 3
"""A certificate with less time than this is renewed."""
AUTHORITY_RENEWED_S = AUTHORITY_LIFETIME_S / 5
SPREAD_S = LIFETIME_S
"""Age at which an authority begins to issue: by then each certificate has been renewed, and its folder handed out."""
BACKDATED_S = 3600.0
"""How long before its making a certificate is valid, for machines whose clocks are behind."""
WARNED_S = 21 * DAY_S
"""A certificate that is in use with less time than this is told of: its renewal was forgotten."""


class Realm(StrEnum):
    """What an authority is for."""

    BUS = "bus"
    """The broker, the repository and the controller's API."""
    SWITCHES = "switches"
    """P4Runtime."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate is for, and what it may be used for."""

    realm: Realm
    name: str
    hosts: tuple[str, ...] = ()
    """Names and addresses at which it serves; none: it may not serve."""
    client: bool = True
    """Whether it may connect."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that is there."""

    subject: Subject
    issuer: str
    """The authority's id."""
    not_before: float
    """Seconds since 1970."""
    not_after: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority that is there."""

    id: str
    """Of its key, hexadecimal."""
    not_before: float
    """Seconds since 1970."""
    not_after: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now, in one realm."""

    new_authority: bool
    """One is to be made. Where there was none it issues at once, else as soon as it has spread."""
    issue: tuple[tuple[Subject, str], ...]
    """The certificates to be made, each with the reason for people."""


def subjects(fabric: Fabric) -> tuple[Subject, ...]:
    """Everyone in a fabric who needs a certificate, but for its clients and operators."""
    served = dict.fromkeys([fabric.repository.host, *([fabric.api.host] if fabric.api is not None else [])])
    return (
        Subject(Realm.BUS, BROKER, (fabric.broker.host,), client=False),
        Subject(Realm.BUS, CONTROLLER, tuple(served)),
        *(Subject(Realm.BUS, name) for node in fabric.nodes for name in (node, emitter_identity(node))),
        *(Subject(Realm.BUS, trigger_identity(name)) for name, service in fabric.services.items() if service.triggers),
        Subject(Realm.SWITCHES, CONTROLLER),
        *(
            Subject(Realm.SWITCHES, name, (spec.p4runtime.rpartition(":")[0],), client=False)
            for name, spec in fabric.switches.items()
            if not spec.p4runtime.startswith("unix:")
        ),
    )


def issuer(authorities: Iterable[Authority], now: float) -> Authority | None:
    """The authority that issues: the newest that has spread, or the oldest there is; None without a valid one."""
    valid = sorted(trusted(authorities, now), key=lambda one: one.not_before)
    spread = [one for one in valid if now - one.not_before >= SPREAD_S]
    return spread[-1] if spread else next(iter(valid), None)


def trusted(authorities: Iterable[Authority], now: float) -> Iterator[Authority]:
    """The authorities that have not expired."""
    return (one for one in authorities if one.not_after > now)


def plan(authorities: Sequence[Authority], issued: Mapping[str, Issued], wanted: Iterable[Subject], now: float) -> Plan:
    """What is to be done at a time in a realm whose certificates are `issued`, by name, and should be `wanted`."""
    newest = max((one.not_after for one in authorities), default=0.0)
    present = issuer(authorities, now)
    issue = []
    for subject in wanted:
        reason = _due(issued.get(subject.name), subject, present, now)
        if reason is not None:
            issue.append((subject, reason))
    return Plan(newest - now < AUTHORITY_RENEWED_S, tuple(issue))


def _due(one: Issued | None, subject: Subject, present: Authority | None, now: float) -> str | None:
    """Why a certificate is to be made, or None."""
    if one is None:
        return "new"
    if one.subject != subject:
        return "its addresses have changed"
    if one.not_after <= now:
        return "expired"
    if one.not_after - now < RENEWED_S:
        return f"{days(one.not_after - now)} left"
    if present is None or one.issuer != present.id:
        return "another authority issues now"
    return None


def days(seconds: float) -> str:
    """A length of time for people."""
    count = int(seconds // DAY_S)
    return f"{count} day{'' if count == 1 else 's'}"
