"""The numbers by which Thrift's clients know entries: per table, the lowest that was free, as BMv2 gives them."""

from __future__ import annotations

from collections.abc import Collection

from softswitch.p4runtime.entities.profiles import Numbers
from softswitch.p4runtime.keys import EntryId

_VERSION_SHIFT = 24


class Unknown(LookupError):
    """No entry has this handle. `expired`: one had it."""

    def __init__(self, handle: int, *, expired: bool) -> None:
        super().__init__(f"the entry of handle {handle} is gone" if expired else f"no entry has handle {handle}")
        self.expired = expired


class EntryHandles:
    """Handles of one table's entries. The low 24 bits are a place, the high 8 how often it was given up."""

    def __init__(self) -> None:
        self._places: dict[EntryId, int] = {}
        self._entries: dict[int, EntryId] = {}
        self._versions: dict[int, int] = {}
        self._numbers = Numbers()

    def give(self, identifier: EntryId) -> int:
        """The handle of an entry that there is."""
        place = self._places.get(identifier)
        if place is None:
            place = self._numbers.take()
            self._places[identifier], self._entries[place] = place, identifier
        return self._handle(place)

    def forget(self, identifier: EntryId) -> None:
        """The entry is gone."""
        place = self._places.pop(identifier, None)
        if place is not None:
            del self._entries[place]
            self._versions[place] = self._version(place) + 1 & 0xFF
            self._numbers.give(place)

    def find(self, handle: int, present: Collection[EntryId]) -> EntryId:
        """The entry of a handle, which is one of `present`. Raises Unknown."""
        unsigned = handle & 0xFFFFFFFF
        place = unsigned & (1 << _VERSION_SHIFT) - 1
        identifier = self._entries.get(place)
        if identifier is None:
            raise Unknown(handle, expired=False)
        if identifier not in present:
            self.forget(identifier)  # a controller deleted it
            raise Unknown(handle, expired=False)
        if unsigned >> _VERSION_SHIFT != self._version(place):
            raise Unknown(handle, expired=True)
        return identifier

    @property
    def known(self) -> Collection[EntryId]:
        """Those that have handles."""
        return self._places

    def _version(self, place: int) -> int:
        return self._versions.get(place, 0)

    def _handle(self, place: int) -> int:
        handle = self._version(place) << _VERSION_SHIFT | place
        return handle - (1 << 32) if handle >> 31 else handle  # an i32 to Thrift
