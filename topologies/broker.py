"""The MQTT broker (mosquitto): TLS alone, and whose certificate it is that is who one is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hitless.files import write_atomic
from hitless.tls import AUTHORITY, CERTIFICATE, KEY, Identity

OWNER = "mosquitto"
"""Started by root, the broker gives that up for this user, who must be able to read its files again on SIGHUP."""


def write_configuration(folder: Path, address: str, port: int, identity: Identity, access: str) -> Path:
    """Write mosquitto's configuration, its certificate and the access list to ``folder``; returns the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "mosquitto.log"
    (folder / "access").write_text(access)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} {address}\n"
        f"cafile {folder / AUTHORITY}\n"
        f"certfile {folder / CERTIFICATE}\n"
        f"keyfile {folder / KEY}\n"
        # The name in a client's certificate is its user name, and its user name is its client id: nobody can take
        # another's session.
        "require_certificate true\n"
        "use_identity_as_username true\n"
        "use_username_as_clientid true\n"
        "allow_anonymous false\n"
        f"acl_file {folder / 'access'}\n"
        "persistence false\n"
        f"log_dest file {log}\n"
        "log_type error\nlog_type warning\nlog_type notice\n"
        "max_inflight_messages 0\n"
        "max_queued_messages 10000\n"
        "set_tcp_nodelay true\n"
    )
    log.touch()
    take_certificate(folder, identity)
    for path in (folder, *folder.iterdir()):
        _hand_over(path)
        path.chmod(0o700 if path.is_dir() else 0o600)
    return configuration


def take_certificate(folder: Path, identity: Identity) -> None:
    """Put the broker's certificate where it reads it: at its start, and at SIGHUP."""
    pem = identity.read()
    for name, content in ((AUTHORITY, pem.authority), (KEY, pem.key), (CERTIFICATE, pem.certificate)):
        write_atomic(folder / name, content, mode=0o600)
        _hand_over(folder / name)


def _hand_over(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, OWNER, OWNER)
