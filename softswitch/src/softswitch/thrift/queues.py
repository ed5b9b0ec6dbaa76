"""Egress queues over Thrift, and the switch's clocks."""

from __future__ import annotations

import time
from typing import Any

from softswitch.thrift.access import Access
from softswitch.thrift.definitions import unsupported


class Queues:
    """The calls about queues of service `simple_switch`. All return 0."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def set_egress_priority_queue_depth(self, port: int, priority: int, packets: int) -> int:
        """How many packets the queue of one priority holds."""
        return self._set("set_queue_depth", [port], packets, priority)

    def set_egress_queue_depth(self, port: int, packets: int) -> int:
        """How many packets the queues of a port hold."""
        return self._set("set_queue_depth", [port], packets)

    def set_all_egress_queue_depths(self, packets: int) -> int:
        """The same of all ports that there are."""
        return self._set("set_queue_depth", list(self._access.device.engine.ports()), packets)

    def set_egress_priority_queue_rate(self, port: int, priority: int, packets_per_second: int) -> int:
        """How fast the queue of one priority is emptied."""
        return self._set("set_queue_rate", [port], packets_per_second, priority)

    def set_egress_queue_rate(self, port: int, packets_per_second: int) -> int:
        """How fast the queues of a port are emptied."""
        return self._set("set_queue_rate", [port], packets_per_second)

    def set_all_egress_queue_rates(self, packets_per_second: int) -> int:
        """The same of all ports that there are."""
        return self._set("set_queue_rate", list(self._access.device.engine.ports()), packets_per_second)

    def _set(self, what: str, ports: list[int], value: int, priority: int | None = None) -> int:
        change: Any = getattr(self._access.device.engine, what, None)
        if change is None:
            raise unsupported("this switch has no egress queues: packets leave as fast as the port takes them")
        try:
            for port in ports:
                change(port, value, priority)
        except (KeyError, ValueError, OSError) as error:
            raise unsupported(f"queue of port {port}: {error}") from error
        return 0


class Clocks:
    """The calls about time of service `simple_switch`, in microseconds."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def get_time_elapsed_us(self) -> int:
        """Since the switch was started."""
        return self._access.device.engine.clock_us()

    def get_time_since_epoch_us(self) -> int:
        """By the machine's clock."""
        return time.time_ns() // 1000
