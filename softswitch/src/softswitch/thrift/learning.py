"""Digests over Thrift: BMv2 sends them by nanomsg, and only what goes with that is in the service."""

from __future__ import annotations

from softswitch.thrift.definitions import bad_learn


class Learning:
    """The calls about digests of service `standard`, which go with BMv2's notifications by nanomsg."""

    _WHY = "digests are sent, acknowledged and configured over P4Runtime"

    def bm_learning_ack(self, context: int, digest: int, buffer: int, samples: list[int]) -> None:
        """Refused."""
        raise self._refused()

    def bm_learning_ack_buffer(self, context: int, digest: int, buffer: int) -> None:
        """Refused."""
        raise self._refused()

    def bm_learning_set_timeout(self, context: int, digest: int, timeout_ms: int) -> None:
        """Refused."""
        raise self._refused()

    def bm_learning_set_buffer_size(self, context: int, digest: int, samples: int) -> None:
        """Refused."""
        raise self._refused()

    def _refused(self) -> Exception:
        return bad_learn("ERROR", self._WHY)
