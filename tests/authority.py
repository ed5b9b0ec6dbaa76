"""An authority whose certificates tests use: of a broker on this machine, and of whomever they name."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from controller.authority.plan import Realm, Subject
from controller.authority.store import AuthorityStore
from hitless.mqtt.identities import BROKER

HERE = "127.0.0.1"


def authority(folder: Path, names: Iterable[str], *, now: float | None = None) -> AuthorityStore:
    """One that was made just now, or at another time, with certificates for the broker and those named."""
    store = AuthorityStore(folder)
    wanted = [Subject(Realm.BUS, BROKER, (HERE,), client=False), *(Subject(Realm.BUS, name) for name in names)]
    store.bring_up_to_date(wanted, time.time() if now is None else now)
    return store
