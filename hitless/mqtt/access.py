"""Who may say and hear what at the broker, by identity: mosquitto's access list. Pure.

A job runs code on a node and an endpoint moves requests, so only the controller may publish either.
"""

from __future__ import annotations

from collections.abc import Iterable

from hitless.mqtt import topics
from hitless.mqtt.identities import CONTROLLER, client_identity, components_identity, emitter_identity
from hitless.mqtt.topics import Topic

_NODE_READS = (
    topics.JOBS_NOTIFY_NEXT,
    topics.JOBS_START_NEXT_ACCEPTED,
    topics.JOB_UPDATE_ACCEPTED,
    topics.SHADOW_UPDATE_DELTA,
    topics.RESTART,
)
_NODE_SHADOWS = (topics.CLASSIC_SHADOW, topics.NAMED_SHADOWS)
_NODE_WRITES = (
    topics.JOBS_START_NEXT,
    topics.JOB_UPDATE,
    topics.RESTART_ENDED,
    topics.COMPONENT_METRICS,
    topics.PRESENCE,
    topics.HEALTH,
)


def access_list(nodes: Iterable[str], clients: Iterable[str] = (), controllers: Iterable[str] = (CONTROLLER,)) -> str:
    """The file for `acl_file`: what the `controllers`, each node with its emitter and its components, and each client
    may do.

    Who is not named may do nothing.
    """
    lines = []
    for controller in controllers:
        lines += [
            f"user {controller}",
            f"topic readwrite {topics.PREFIX}things/#",
            f"topic readwrite {topics.ENDPOINT.filter()}",
            f"topic read {topics.CLIENT_ACK.filter()}",
        ]
    for node in nodes:
        lines += [f"user {node}", *_topics("read", _NODE_READS, node), *_topics("write", _NODE_WRITES, node)]
        for shadows in _NODE_SHADOWS:
            lines += _topics("read", (shadows.requests["get"], shadows.requests["delete"]), node)
            # An update that waited at the broker is taken away by the node that has carried it out.
            lines += _topics("readwrite", (shadows.requests["update"],), node)
            lines += _topics("write", shadows.answers.values(), node)
        lines += [f"user {emitter_identity(node)}", *_topics("write", (topics.METRICS,), node)]
        # Whatever components say to one another, so long as it is none of the fabric's.
        lines += [f"user {components_identity(node)}", f"topic deny {topics.PREFIX}#", "topic readwrite #"]
    for client in clients:
        identity = client_identity(client)
        lines += [
            f"user {identity}",
            f"topic read {topics.ENDPOINT.filter()}",
            f"topic write {topics.CLIENT_ACK.filter(client=identity)}",
        ]
    return "\n".join(lines) + "\n"


def _topics(access: str, families: Iterable[Topic], node: str) -> list[str]:
    return [f"topic {access} {topic.filter(node=node)}" for topic in families]
