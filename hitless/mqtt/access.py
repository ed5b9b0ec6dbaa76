"""Who may say and hear what at the broker, by identity: mosquitto's access list. Pure.

A job runs code on a node and an endpoint moves requests, so only the controller may publish either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hitless.component.triggers import Trigger
from hitless.mqtt import topics
from hitless.mqtt.identities import CONTROLLER, client_identity, emitter_identity, trigger_identity
from hitless.mqtt.topics import Topic

_NODE_READS = (
    topics.JOBS_NOTIFY_NEXT,
    topics.JOBS_START_NEXT_ACCEPTED,
    topics.JOB_UPDATE_ACCEPTED,
    topics.SHADOW_UPDATE_DELTA,
    topics.RESTART,
    topics.ENDPOINT,
    topics.TRIGGER_HOLDER,
)
_NODE_WRITES = (
    topics.JOBS_START_NEXT,
    topics.JOB_UPDATE,
    topics.SHADOW_UPDATE,
    topics.RESTART_ENDED,
    topics.PRESENCE,
    topics.HEALTH,
)


Triggers = Mapping[str, Mapping[str, Trigger]]
"""By service and name."""


def access_list(
    nodes: Iterable[str],
    clients: Iterable[str] = (),
    controllers: Iterable[str] = (CONTROLLER,),
    triggers: Triggers = MappingProxyType({}),
) -> str:
    """The file for `acl_file`: what the `controllers`, each node with its emitter, and each client may do.

    Clients may publish to the topics of `triggers`, as they may call the services. Who is not named may do nothing.
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
        lines += [f"user {emitter_identity(node)}", *_topics("write", (topics.METRICS,), node)]
    called = [trigger.topic for own in triggers.values() for trigger in own.values() if trigger.topic is not None]
    for service, own in triggers.items():
        if own:
            lines += _of_triggers(service, own.values())
    for client in clients:
        identity = client_identity(client)
        lines += [
            f"user {identity}",
            f"topic read {topics.ENDPOINT.filter()}",
            f"topic write {topics.CLIENT_ACK.filter(client=identity)}",
            *(f"topic write {topic}" for topic in called),
        ]
    return "\n".join(lines) + "\n"


def _topics(access: str, families: Iterable[Topic], node: str) -> list[str]:
    own = [topic.filter(**({"node": node} if "node" in topic.names else {})) for topic in families]
    return [f"topic {access} {topic}" for topic in own]


def _of_triggers(service: str, triggers: Iterable[Trigger]) -> list[str]:
    lines = [
        f"user {trigger_identity(service)}",
        f"topic readwrite {topics.TRIGGER_HOLDER.of(service=service)}",
        f"topic readwrite {topics.TRIGGER_FIRED.filter(service=service)}",
    ]
    for trigger in triggers:
        if trigger.topic is not None:
            lines.append(f"topic read {trigger.topic}")
        if trigger.dead_letter is not None:
            lines.append(f"topic write {trigger.dead_letter}")
    return lines
