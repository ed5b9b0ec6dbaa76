"""Who is who at the broker: the names in certificates, which are user names and client ids there too.

A node is called by its own name. None of the others may be a node's.
"""

from __future__ import annotations

CONTROLLER, BROKER = "controller", "broker"
CLIENT_PREFIX = "client-"
EMITTER_SUFFIX = "-emitter"
TRIGGER_PREFIX = "trigger-"


def client_identity(client: str) -> str:
    """The identity of a client, which is the id in ``clients/{id}/ack`` too."""
    return f"{CLIENT_PREFIX}{client}"


def emitter_identity(node: str) -> str:
    """The identity of a node's emitter: beside the agent's, since a client id has one session at a time."""
    return f"{node}{EMITTER_SUFFIX}"


def trigger_identity(service: str) -> str:
    """The identity of whoever takes a service's triggers: of all its nodes the same, since one session at a time has it
    and the broker keeps that session for the next one."""
    return f"{TRIGGER_PREFIX}{service}"
