"""Ports over Thrift."""

from __future__ import annotations

from typing import Any

from softswitch.thrift.access import Access
from softswitch.thrift.definitions import LOGGER, bad_port, standard


class Ports:
    """The calls about ports of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._engine = access.device.engine

    def bm_dev_mgr_add_port(self, iface: str, port: int, pcap: str) -> None:
        """Attach an interface."""
        if pcap:
            raise bad_port("what a port sends and receives is recorded with the switch's option --pcap")
        try:
            self._engine.add_port(port, iface)
        except (OSError, ValueError) as error:
            raise bad_port(getattr(error, "strerror", None) or str(error)) from error
        LOGGER.info("port %d is %s", port, iface)

    def bm_dev_mgr_remove_port(self, port: int) -> None:
        """Detach it."""
        try:
            self._engine.remove_port(port)
        except KeyError:
            raise bad_port(f"there is no port {port}") from None
        LOGGER.info("port %d is removed", port)

    def bm_dev_mgr_show_ports(self) -> list[Any]:
        """In the order of their numbers."""
        return [
            standard.Port(number=port, iface=interface, up=up, extra={})
            for port, (interface, up) in sorted(self._engine.ports().items())
        ]
