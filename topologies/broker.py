"""The MQTT broker (mosquitto) with an identity of its own, and what it may do, for everyone in the fabric.

A job runs code on a node and an endpoint moves requests, so only the controller may publish either.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from hitless.mqtt import topics
from hitless.mqtt.broker import Credentials

CONTROLLER = "controller"


def make_credentials(nodes: Iterable[str], clients: Iterable[str]) -> dict[str, Credentials]:
    """One identity for the controller, each node (by its name) and each client (``client-<name>``), by user name."""
    names = [CONTROLLER, *nodes, *(client_identity(client) for client in clients)]
    return {name: Credentials(username=name, password=secrets.token_urlsafe(24)) for name in names}


def client_identity(client: str) -> str:
    """The user name, and the id in ``clients/{id}/ack``, of a client."""
    return f"client-{client}"


def access_list(nodes: Iterable[str], clients: Iterable[str]) -> str:
    """The mosquitto ACL file: who may read and write which topics."""
    everything_of_things = f"{topics.PREFIX}things/#"
    lines = [
        f"user {CONTROLLER}",
        f"topic readwrite {everything_of_things}",
        f"topic readwrite {topics.ENDPOINT.filter()}",
        f"topic read {topics.CLIENT_ACK.filter()}",
    ]
    for node in nodes:
        reads = (
            topics.JOBS_NOTIFY_NEXT,
            topics.JOBS_START_NEXT_ACCEPTED,
            topics.JOB_UPDATE_ACCEPTED,
            topics.SHADOW_UPDATE_DELTA,
            topics.RESTART,
        )
        writes = (
            topics.JOBS_START_NEXT,
            topics.JOB_UPDATE,
            topics.SHADOW_UPDATE,
            topics.RESTART_ENDED,
            topics.PRESENCE,
            topics.HEALTH,
            topics.METRICS,
        )
        lines.append(f"user {node}")
        lines += [f"topic read {topic.filter(node=node)}" for topic in reads]
        lines += [f"topic write {topic.filter(node=node)}" for topic in writes]
    for client in clients:
        identity = client_identity(client)
        lines.append(f"user {identity}")
        lines.append(f"topic read {topics.ENDPOINT.filter()}")
        lines.append(f"topic write {topics.CLIENT_ACK.filter(client=identity)}")
    return "\n".join(lines) + "\n"


def write_configuration(
    folder: Path, address: str, port: int, credentials: Iterable[Credentials], access: str
) -> tuple[Path, Path]:
    """Write mosquitto's configuration, hashed passwords and ACL to ``folder``; returns (configuration, log) paths.

    The broker gives up root for the user ``mosquitto``, so the folder is made readable to that user alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "mosquitto.log"
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{one.username}:{one.password}\n" for one in credentials))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
    (folder / "access").write_text(access)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} {address}\n"
        "allow_anonymous false\n"
        f"password_file {passwords}\n"
        f"acl_file {folder / 'access'}\n"
        "persistence false\n"
        f"log_dest file {log}\n"
        "log_type error\nlog_type warning\nlog_type notice\n"
        "max_inflight_messages 0\n"
        "max_queued_messages 10000\n"
        "set_tcp_nodelay true\n"
    )
    log.touch()
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "mosquitto", "mosquitto")
        path.chmod(0o700 if path.is_dir() else 0o600)
    return configuration, log
