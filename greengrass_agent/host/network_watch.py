"""Sees to it that the node's network stays as it was set up, whatever becomes of interfaces, addresses and routes.

The kernel says by netlink that something has changed; what, is found by comparing what there is with what must be. So
nothing rests on having read every message, and the messages themselves need no reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from greengrass_agent.host.network import NetworkError, NodeNetwork
from hitless.files import StateError

log = logging.getLogger(__name__)

NETLINK_ROUTE = 0
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 1 << 23
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, and RTNLGRP_IPV4_NETCONF, which tells of rp_filter
(linux/rtnetlink.h)."""
SETTLED_S = 0.02
"""After a message: what changes together is looked at together."""
PAUSE_S = 0.2
"""Between two looks at the most, on a node whose routes change all the time."""
SWEEP_S = 30.0
"""A look at the least: the kernel tells nobody of some settings (accept_local, arp_ignore)."""


async def keep(network: NodeNetwork) -> None:
    """Set again what goes of the node's network, until cancelled."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE) as messages:
        messages.bind((0, GROUPS))
        loop.add_reader(messages, _drain, messages, changed)
        told = ""
        try:
            while True:
                told = await asyncio.to_thread(_put_back, network, told)
                await asyncio.sleep(PAUSE_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), SWEEP_S)
                await asyncio.sleep(SETTLED_S)
                changed.clear()
        finally:
            loop.remove_reader(messages)


def _drain(messages: socket.socket, changed: asyncio.Event) -> None:
    changed.set()
    while True:
        try:
            messages.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:  # there were more than the socket has room for, which says the same
            continue


def _put_back(network: NodeNetwork, told: str) -> str:
    """Look once; returns what is wrong and was told, empty if nothing is."""
    try:
        changes = network.put_back()
    except (NetworkError, StateError, OSError) as error:
        if (wrong := str(error)) != told:
            log.error("own calls of the node may not be steered: %s", wrong)
        return wrong
    for change in changes:
        log.warning("the node's network had changed, set again: %s", change)
    if told:
        log.info("the node's network is as it must be again")
    return ""
