"""The invocation protocol at the gateway: sockets and the clock around `hitless.wire.serving`."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from greengrass_agent.gateway.gathered import Gathered
from greengrass_agent.gateway.job import Answer, Job
from greengrass_agent.gateway.lanes import BATCH, Lane, common_allowance, open_lanes
from hitless.alarm import Alarm
from hitless.wire.invocation import MAX_PAYLOAD, Address, Datagram
from hitless.wire.serving import Requested, Route, Serving

log = logging.getLogger(__name__)

TELL_AFTER = 60.0
"""Seconds between two lines in the log about what was dropped."""
_LONGEST_DATAGRAM = 65535


class UdpServer:
    """Serves one service on one or more addresses; an answer leaves from the address that was asked."""

    def __init__(self, service_id: int, timeout_ns: Callable[[], int], submit: Callable[[Job], None]) -> None:
        """`timeout_ns` gives the service's time limit, `submit` takes each request, once."""
        self._timeout_ns = timeout_ns
        self._submit = submit
        self._serving = Serving(service_id)
        self._lanes: dict[Address, list[Lane]] = {}
        self._allowance = common_allowance()
        self._pauses: dict[Lane, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._buffer = memoryview(bytearray(_LONGEST_DATAGRAM))
        self._unsent = 0
        """Datagrams that could not be sent."""
        self._latest_unsent: tuple[Address, OSError] | None = None
        self._told = (0, 0)
        """How many malformed and unsent datagrams the log knows of."""
        self._told_at = float("-inf")
        self._alarm = Alarm(self._due)

    def open(self, addresses: Sequence[str], port: int) -> None:
        """Listen. Raises OSError, also when an address is not the node's."""
        for address in addresses:
            lanes = open_lanes(address, port, self._allowance)
            local: Address = lanes[0].sock.getsockname()
            self._lanes[local] = lanes
            for lane in lanes:
                self._resume(lane, local)

    def ports(self) -> list[Address]:
        """The addresses and ports at which it listens."""
        return list(self._lanes)

    def pause(self) -> None:
        """Take nothing new; answers still leave."""
        for lane in chain.from_iterable(self._lanes.values()):
            self._loop.remove_reader(lane.sock)
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()

    def close(self) -> None:
        """Close the sockets; answers that wait for their turn are sent at once."""
        self.pause()
        self._alarm.cancel()
        self._transmit(self._serving.last_datagrams())
        for lane in chain.from_iterable(self._lanes.values()):
            lane.sock.close()

    def _resume(self, lane: Lane, local: Address) -> None:
        """Read a lane, or again after a pause, unless what it has brought for nothing is still too much."""
        if pause := lane.pause(0, time.monotonic()):
            self._pauses[lane] = self._loop.call_later(pause, self._resume, lane, local)
        else:
            self._pauses.pop(lane, None)
            self._loop.add_reader(lane.sock, self._readable, lane, local)

    def _readable(self, lane: Lane, local: Address) -> None:
        self._reading = True
        serving, buffer, receive = self._serving, self._buffer, lane.sock.recvfrom_into
        useful, received = serving.useful, 0
        for _ in range(BATCH):
            try:
                size, source = receive(buffer)
            except BlockingIOError:
                break
            except OSError as error:
                # An ICMP error for an answer that we sent: its client has gone.
                log.debug("%s:%d: %s", *local, error)
                continue
            received += 1
            serving.datagram_received(buffer[:size], source, local, time.monotonic())
            while (requested := serving.next_request()) is not None:
                self._execute(requested)
        self._reading = False
        self._send()
        now = time.monotonic()
        useless = received - (serving.useful - useful)
        if useless > 0 and (pause := lane.pause(useless, now)):
            self._loop.remove_reader(lane.sock)
            self._pauses[lane] = self._loop.call_later(pause, self._resume, lane, local)
        self._tell(now)

    def _execute(self, requested: Requested) -> None:
        request, received_ns = requested.request, time.monotonic_ns()
        deadline_ns = received_ns + self._timeout_ns()
        if requested.deadline is not None:
            deadline_ns = min(deadline_ns, round(requested.deadline * 1e9))
        client = Gathered(functools.partial(self._answer, requested), MAX_PAYLOAD)
        client.job = Job(
            request.client_id,
            request.request_id,
            request.parent_id,
            request.payload,
            None,
            received_ns,
            deadline_ns,
            client,
            requested.source[0],
        )
        self._submit(client.job)

    def _answer(self, requested: Requested, answer: Answer) -> None:
        self._serving.answer(requested, answer.status, answer.body, time.monotonic(), failed=answer.failed)
        if not self._reading:
            self._send()

    def _send(self) -> None:
        now = time.monotonic()
        self._transmit(self._serving.datagrams_to_send(now))
        self._alarm.set(self._serving.next_timer(), now)

    def _due(self) -> None:
        self._serving.handle_timer(time.monotonic())
        self._send()

    def _transmit(self, outgoing: Iterable[tuple[Datagram, Route]]) -> None:
        for datagram, (client, local) in outgoing:
            try:
                self._lanes[local][0].sock.sendto(datagram, client)
            except OSError as error:
                self._unsent += 1
                self._latest_unsent = client, error

    def _tell(self, now: float) -> None:
        """Log what was dropped since the last time, if that is long enough ago: anybody can send what is dropped."""
        malformed, unsent = self._serving.counts.malformed, self._unsent
        known_malformed, known_unsent = self._told
        if (malformed, unsent) == self._told or now < self._told_at + TELL_AFTER:
            return
        self._told, self._told_at = (malformed, unsent), now
        for number, what, latest in (
            (
                malformed - known_malformed,
                "malformed datagrams dropped, the latest from",
                self._serving.latest_malformed,
            ),
            (unsent - known_unsent, "datagrams not sent, the latest to", self._latest_unsent),
        ):
            if number and latest is not None:
                (address, port), reason = latest
                log.warning("%d %s %s:%d: %s", number, what, address, port, reason)
