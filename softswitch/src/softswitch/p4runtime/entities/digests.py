"""Digests (specification, "DigestEntry"): distinct messages are gathered into lists, sent, and held back until
acknowledged. Time is given, in nanoseconds of any monotonic clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.p4runtime.entities.cells import find
from softswitch.p4runtime.entities.effect import Effect, nothing
from softswitch.p4runtime.errors import P4RuntimeError, check_presence, invalid

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline

Message = tuple[int, ...]

MAX_LIST = 10_000
"""Messages of one list, whatever its configuration says."""

MAX_UNACKNOWLEDGED = 100_000
"""Messages of a digest that are held back until they are acknowledged; the oldest beyond may be reported again."""


@dataclass(frozen=True, slots=True)
class DigestConfig:
    """How one digest is reported. Times in nanoseconds; a list size of 0 means that only time bounds a list."""

    max_timeout_ns: int = 0
    max_list_size: int = 0
    ack_timeout_ns: int = 0


@dataclass(frozen=True, slots=True)
class DigestBatch:
    """One DigestList to send."""

    digest_id: int
    list_id: int
    messages: tuple[Message, ...]


@dataclass(slots=True)
class _Learner:
    config: DigestConfig
    buffer: dict[Message, None] = field(default_factory=dict)
    buffered_since: int = 0
    unacknowledged: dict[int, tuple[int, tuple[Message, ...]]] = field(default_factory=dict)
    held_back: set[Message] = field(default_factory=set)
    """The messages of unacknowledged lists: each is in one of them."""

    def release(self, list_id: int) -> None:
        """The messages of a list may be reported again."""
        _, messages = self.unacknowledged.pop(list_id, (0, ()))
        self.held_back.difference_update(messages)

    def release_old(self, now: int) -> None:
        """Give up waiting for lists that are older than the acknowledgement time, or too many. They are in order of
        sending."""
        while self.unacknowledged:
            list_id, (sent, _) = next(iter(self.unacknowledged.items()))
            if now - sent < self.config.ack_timeout_ns and len(self.held_back) <= MAX_UNACKNOWLEDGED:
                break
            self.release(list_id)


class DigestLists:
    """The digests of one pipeline that a controller has enabled."""

    def __init__(self) -> None:
        self._learners: dict[int, _Learner] = {}
        self._next_list_id = 1

    def configs(self) -> dict[int, DigestConfig]:
        """Digest id -> configuration, for the enabled ones."""
        return {digest_id: learner.config for digest_id, learner in self._learners.items()}

    def enable(self, digest_id: int, config: DigestConfig) -> None:
        """Enable a digest, or give it another configuration."""
        learner = self._learners.get(digest_id)
        if learner is None:
            self._learners[digest_id] = _Learner(config)
        else:
            learner.config = config

    def disable(self, digest_id: int) -> None:
        """Disable a digest; what it has gathered is gone."""
        del self._learners[digest_id]

    def add(self, digest_id: int, message: Message, now: int) -> DigestBatch | None:
        """Take a message of the data plane. Returns the list that it completed."""
        learner = self._learners.get(digest_id)
        if learner is None or message in learner.buffer:
            return None
        learner.release_old(now)
        if message in learner.held_back:
            return None
        if not learner.buffer:
            learner.buffered_since = now
        learner.buffer[message] = None
        config = learner.config
        full = len(learner.buffer) >= min(config.max_list_size or MAX_LIST, MAX_LIST)
        if full or config.max_timeout_ns == 0:
            return self._flush(digest_id, learner, now)
        return None

    def due(self, now: int) -> list[DigestBatch]:
        """The lists whose oldest message has waited long enough."""
        return [
            self._flush(digest_id, learner, now)
            for digest_id, learner in self._learners.items()
            if learner.buffer and now - learner.buffered_since >= learner.config.max_timeout_ns
        ]

    def deadline(self) -> int | None:
        """When `due` will next return something, None while nothing waits."""
        return min(
            (s.buffered_since + s.config.max_timeout_ns for s in self._learners.values() if s.buffer), default=None
        )

    def acknowledge(self, digest_id: int, list_id: int) -> None:
        """Take a DigestListAck: messages of that list may be reported again. Unknown lists are ignored."""
        if learner := self._learners.get(digest_id):
            learner.release(list_id)

    def forget_unacknowledged(self) -> None:
        """Another controller is primary: what the last one had heard no longer counts."""
        for learner in self._learners.values():
            learner.unacknowledged.clear()
            learner.held_back.clear()

    def _flush(self, digest_id: int, learner: _Learner, now: int) -> DigestBatch:
        batch = DigestBatch(digest_id, self._next_list_id, tuple(learner.buffer))
        self._next_list_id += 1
        learner.buffer.clear()
        if learner.config.ack_timeout_ns:
            learner.unacknowledged[batch.list_id] = (now, batch.messages)
            learner.held_back.update(batch.messages)
        return batch


def stage(pipeline: Pipeline, kind: int, message: p4r.DigestEntry) -> Effect:
    """Enable, configure or disable a digest. Raises P4RuntimeError."""
    digest = find("digest", pipeline.schema.digests, message.digest_id)
    digests = pipeline.digests
    before = digests.configs().get(digest.id)
    check_presence(kind, before is not None, f"configuration of digest {digest.name!r}")
    config = message.config
    if min(config.max_timeout_ns, config.max_list_size, config.ack_timeout_ns) < 0:
        raise invalid(f"digest {digest.name!r}: its configuration has a negative number")

    def put(to: DigestConfig | None) -> None:
        if to is None:
            digests.disable(digest.id)
        else:
            digests.enable(digest.id, to)

    after = DigestConfig(config.max_timeout_ns, config.max_list_size, config.ack_timeout_ns)
    put(None if kind == p4r.Update.DELETE else after)
    return Effect(perform=lambda: nothing, revert=lambda: put(before))


def select(pipeline: Pipeline, request: p4r.DigestEntry) -> Iterable[p4r.Entity]:
    """The configurations that a read asks for. Raises P4RuntimeError."""
    configs = pipeline.digests.configs()
    if request.digest_id:
        find("digest", pipeline.schema.digests, request.digest_id)
        if request.digest_id not in configs:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"digest {request.digest_id} is not configured")
        configs = {request.digest_id: configs[request.digest_id]}
    return [p4r.Entity(digest_entry=_encode(identifier, config)) for identifier, config in configs.items()]


def carry(old: Pipeline, new: Pipeline) -> None:
    """Enable what was enabled; where the digests are the same, with the messages that wait. Raises P4RuntimeError for
    a digest that the new program does not have."""
    if new.schema.digests == old.schema.digests:
        new.digests = old.digests
        return
    for identifier, config in old.digests.configs().items():
        stage(new, p4r.Update.INSERT, _encode(identifier, config))


def _encode(identifier: int, config: DigestConfig) -> p4r.DigestEntry:
    entry = p4r.DigestEntry(digest_id=identifier)
    entry.config.max_timeout_ns = config.max_timeout_ns
    entry.config.max_list_size = config.max_list_size
    entry.config.ack_timeout_ns = config.ack_timeout_ns
    return entry
