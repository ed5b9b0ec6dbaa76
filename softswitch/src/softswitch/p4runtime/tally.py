"""Counts what goes wrong by the thousand, and tells of it in the log with every doubling."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("softswitch.p4runtime")


class Tally:
    """How often something happened; `sentence` has a %d for that."""

    def __init__(self, sentence: str) -> None:
        self.count = 0
        self._sentence = sentence

    def add(self, count: int = 1, *why: object) -> None:
        """It happened again; `why` is for what else the sentence has a place for."""
        before = self.count.bit_length()
        self.count += count
        if self.count.bit_length() > before:
            LOGGER.warning(self._sentence, self.count, *why)
