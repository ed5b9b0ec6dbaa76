"""Clients and nodes of the invocation protocol, on a network that does its worst and on simulated time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hitless.wire.calls import Acknowledged, Answered, Calls, DeadlinePassed, Endpoint, Response
from hitless.wire.invocation import Address, Datagram, Message
from hitless.wire.serving import Requested, Serving

Fate = tuple[tuple[float, bool], ...]
"""What becomes of a datagram: for each copy that arrives its delay in seconds, and whether it is at the wrong place."""
ARRIVES: Fate = ((0.001, False),)


@dataclass(frozen=True)
class Plan:
    """A call to make, and what the node does with it."""

    start: float
    client: int
    node: int
    size: int
    deadline: float
    retry_after: float | None
    takes: float
    """Seconds of execution."""
    failed: bool

    @property
    def payload(self) -> bytes:
        """What is sent: no other plan of the same test has it, unless it is equal in everything."""
        return (repr(self).encode() * (1 + self.size // 100))[: self.size]


def reply(request: Message) -> bytes:
    """What a node answers: as long as the request, and of no other one."""
    return f"{request.client_id}/{request.request_id}:".encode() + request.payload[::-1]


@dataclass
class Outcome:
    """How a call ended."""

    plan: Plan
    at: float
    response: Response | None


@dataclass
class World:
    """Runs the engines until nothing is left to happen."""

    fates: Iterator[Fate]
    clients: list[Calls] = field(default_factory=lambda: [Calls(101), Calls(102)])
    nodes: list[Serving] = field(default_factory=lambda: [Serving(1), Serving(2)])
    now: float = 0.0
    executed: list[tuple[int, int, int]] = field(default_factory=list)
    """Node, client id and request id of each execution."""
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)
    """By client and request id."""
    acknowledged: int = 0
    datagrams: int = 0
    """How many have been sent."""
    largest: int = 0
    """The most calls that any client had at a time."""
    _plans: dict[tuple[int, int], Plan] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)

    def run(self, plans: Sequence[Plan]) -> None:
        """Make the calls and let everything come to its end."""
        for plan in plans:
            self._at(plan.start, lambda plan=plan: self._call(plan))
        while self._step():
            pass

    def _step(self) -> bool:
        timers = [engine.next_timer() for engine in (*self.clients, *self.nodes)]
        times = [time for time in timers if time is not None] + [due[0] for due in self._due[:1]]
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
            self._tell()
        for engine in (*self.clients, *self.nodes):
            engine.handle_timer(self.now)
        self._tell()
        self._transmit()
        return True

    def _at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time, next(self._order), action))

    def _call(self, plan: Plan) -> None:
        address, port = node_address(plan.node)
        endpoint = Endpoint(plan.node + 1, address, port)
        request_id = self.clients[plan.client].call(
            endpoint, plan.payload, plan.deadline, self.now, retry_after=plan.retry_after
        )
        self._plans[plan.client, request_id] = plan

    def _tell(self) -> None:
        for number, client in enumerate(self.clients):
            self.largest = max(self.largest, len(client))
            while (event := client.next_event()) is not None:
                match event:
                    case Answered(response):
                        self._end(number, response.request_id, response)
                    case DeadlinePassed(request_id, _):
                        self._end(number, request_id, None)
                    case Acknowledged():
                        self.acknowledged += 1
        for number, node in enumerate(self.nodes):
            while (requested := node.next_request()) is not None:
                self._execute(number, requested)

    def _end(self, client: int, request_id: int, response: Response | None) -> None:
        assert (client, request_id) not in self.outcomes, "a call ends once"
        self.outcomes[client, request_id] = Outcome(self._plans[client, request_id], self.now, response)

    def _execute(self, number: int, requested: Requested) -> None:
        request = requested.request
        self.executed.append((number, request.client_id, request.request_id))
        plan = self._plans[request.client_id - 101, request.request_id]
        self._at(
            self.now + plan.takes,
            lambda: self.nodes[number].answer(requested, 200, reply(request), self.now, failed=plan.failed),
        )

    def _transmit(self) -> None:
        for number, client in enumerate(self.clients):
            for datagram, (address, _) in client.datagrams_to_send(self.now):
                self._carry(datagram, client_address(number), int(address[-1]), self._to_node)
        for node in self.nodes:
            for datagram, ((address, _), local) in node.datagrams_to_send(self.now):
                self._carry(datagram, local, int(address[-1]), self._to_client)

    def _carry(
        self, datagram: Datagram, source: Address, to: int, deliver: Callable[[Datagram, Address, int], None]
    ) -> None:
        self.datagrams += 1
        content = bytes(datagram)
        for delay, astray in next(self.fates):
            self._at(self.now + delay, lambda place=to ^ astray: deliver(content, source, place))

    def _to_node(self, datagram: Datagram, source: Address, node: int) -> None:
        self.nodes[node].datagram_received(datagram, source, node_address(node), self.now)

    def _to_client(self, datagram: Datagram, source: Address, client: int) -> None:
        self.clients[client].datagram_received(datagram, source, self.now)


def client_address(number: int) -> Address:
    """Where a client is."""
    return f"10.0.1.{number}", 5000


def node_address(number: int) -> Address:
    """Where a node is."""
    return f"10.0.2.{number}", 9000
