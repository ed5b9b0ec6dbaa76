"""Everything that can happen to a switch, as the rules of a hypothesis state machine over a `Duel`."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from controller.switches.entries import Act
from hitless.steering.flows import NO_SHARE, Share
from hitless.steering.policies import POLICIES, Pinned, Policy, Single, Spread
from hitless.steering.rank import Score
from hitless.steering.settings import Configuration
from hitless.words import OFF, OnNoLive
from tests.model import world
from tests.model.duel import Duel
from tests.model.traffic import LOADS, REQUESTS, SOME, Traffic, members, services
from tests.model.world import MEMBERS, SECOND, SERVICES, Kind

PLAIN_POLICIES = [policy() for policy in POLICIES if policy not in (Single, Spread, Pinned)]
"""Those without a rule that varies their parameters."""
SHIFTS = st.sampled_from([0, 0, 1, 8, 16, 17, 31])
DWELLS = st.sampled_from([0, 0, 1, 1000, 200_000, 2**48 - 1])
STARTS = st.sampled_from([0, 0, 1, 899, 200_000, 2**48 - 1])
PATIENCE = st.sampled_from([200_000, SECOND, SECOND, 0, 3 * SECOND, 60 * SECOND])
ENDS = st.sampled_from([{"draining": True}, {"ready": False}, {"cpu": 900}])
EVERYTHING = Share()
OLD_SHARES = [Share(0, 1), Share(0, 2), Share(7, 3)]
"""Small ones, so that they are full."""
SHARES = st.sampled_from([EVERYTHING, EVERYTHING, *OLD_SHARES])
STEPS = st.sampled_from(
    [1, 1, 999, 1000, 1001, 100_000, 199_999, 200_000, 200_001, SECOND, 3 * SECOND, 3 * SECOND + 1, 10 * SECOND + 1]
)


class Machine(Traffic):
    """Drives a model and a target; a subclass says which target."""

    met: Counter[str]
    """How often each drop reason and event was, in all examples; of each subclass."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.met = Counter()

    def make(self) -> Duel:
        """A fresh target beside a fresh model."""
        raise NotImplementedError

    @initialize(one=st.sampled_from(SERVICES), other=st.sampled_from(SERVICES))
    def lay_out(self, one: Kind, other: Kind) -> None:
        """Every service with a policy and its instances; one of them is what most of it is about."""
        self.focus = [one, one, one, other]
        self.duel = self.make()
        self.serials: dict[tuple[int, int], tuple[int, int]] = {}
        self.seeds: list[tuple[int, bytes]] = []
        for place, act in world.fixed_entries():
            self.duel.write(place, act)
        for service in SERVICES:
            self.configure(service, 64, SECOND, SECOND, 3 * SECOND, 0)
            self.single(service, 10, 0)
            for member in MEMBERS:
                self.instance(service, member, 1, 1, 0, 0, member & 1, 0)
            self.round_of_reports(service, list(MEMBERS[::-1]), (100, 90, 300))

    # The control plane

    @rule(
        service=services,
        slots=st.sampled_from([64, 64, 3, 1, 0]),
        idle=PATIENCE,
        stale=PATIENCE,
        dead=PATIENCE,
        on_no_live=st.integers(0, 2),
        share=SHARES,
        old=st.sampled_from([NO_SHARE, NO_SHARE, *OLD_SHARES]),
    )
    def configure(
        self,
        service: Kind,
        slots: int,
        idle: int,
        stale: int,
        dead: int,
        on_no_live: int,
        share: Share = EVERYTHING,
        old: Share = NO_SHARE,
    ) -> None:
        """How a service is kept together."""
        configuration = Configuration(
            affinity=service.affinity,
            members=slots,
            idle_after=idle,
            stale_after=stale,
            dead_after=dead,
            on_no_live=OnNoLive(on_no_live),
            fallback=world.FALLBACK,
            first_slot=share.first,
            slots=share.slots,
            old_first_slot=old.first,
            old_slots=old.slots,
        )
        self.duel.write(world.of_service("services", service), Act(configuration.action, configuration.params))

    def choose_by(self, service: Kind, policy: Policy) -> None:
        """Put a service under a policy."""
        self.duel.write(world.of_service("policies", service), Act(policy.action, policy.params))

    @rule(
        service=services,
        margin=st.sampled_from([0, 0, 10, 400, 2**48 - 1]),
        dwell=DWELLS,
        evidence=st.sampled_from([0, 0, 1, 2, 255]),
        start_within=STARTS,
    )
    def single(self, service: Kind, margin: int, dwell: int, evidence: int = 0, start_within: int = 0) -> None:
        """One host at a time."""
        self.choose_by(service, Single(margin, dwell, evidence, start_within))

    @rule(service=services, policy=st.sampled_from(PLAIN_POLICIES))
    def plain_policy(self, service: Kind, policy: Policy) -> None:
        """By two choices, in turn, at random, and by whatever else there is to be had."""
        self.choose_by(service, policy)

    @rule(service=services, penalty=SHIFTS)
    def spread(self, service: Kind, penalty: int) -> None:
        """The earliest start."""
        self.choose_by(service, Spread(penalty))

    @rule(service=services, member=members)
    def pin(self, service: Kind, member: int) -> None:
        """The operator's choice."""
        self.choose_by(service, Pinned(member))

    @rule(service=services, shifts=st.tuples(*[SHIFTS] * 5), busy=st.sampled_from([0, 4, 65535]))
    def score(self, service: Kind, shifts: tuple[int, int, int, int, int], busy: int) -> None:
        """How metrics become load."""
        cpu, memory, queue, interval, contention = shifts
        score = Score(cpu, memory, queue, busy, interval, contention)
        self.duel.write(world.of_service("scoring", service), Act(score.action, score.params))

    @rule(service=services, table=st.sampled_from(["services", "policies", "scoring"]), member=members)
    def take_away(self, service: Kind, table: str, member: int) -> None:
        """A service loses an entry for a while."""
        place = world.of_service(table, service)
        if act := self.duel.written.get(place):
            self.duel.write(place, None)
            self.round_of_reports(service, [member], (5, 5, 5))
            self.requests(service, [(0, 2), (1, 0x10)])
            self.duel.write(place, act)

    @rule(
        service=services,
        member=members,
        bound=st.sampled_from([1, 1, 1, 2]),
        placed=st.sampled_from([1, 1, 1, 2]),
        cost=st.sampled_from([0, 0, 100, 65535]),
        copies=st.sampled_from([0, 0, 1, 2]),
        authenticate=st.sampled_from([0, 0, 1]),
        doubted=st.sampled_from([0, 0, 0, 1]),
    )
    def instance(
        self,
        service: Kind,
        member: int,
        bound: int,
        placed: int,
        cost: int,
        copies: int,
        authenticate: int,
        doubted: int,
    ) -> None:
        """An instance comes, or gets another generation, or is between two."""
        act = world.bind(service, member, bound, cost, copies, authenticate, doubted)
        self.duel.write(world.binding(service, member), act)
        self.duel.write(world.instance(service, member), world.at_node(member, placed, cost))

    @rule(service=services, member=members, which=st.sampled_from(["bindings", "instances"]), back=st.booleans())
    def withdraw(self, service: Kind, member: int, which: str, back: bool) -> None:
        """An instance goes, and mostly comes back."""
        place = world.binding(service, member) if which == "bindings" else world.instance(service, member)
        if act := self.duel.written.get(place):
            self.duel.write(place, None)
            self.round_of_reports(service, [member], (5, 5, 5))
            self.requests(service, [(0, 2), (1, 0x10), (3, 2)])
            if back:
                self.duel.write(place, act)

    # Time

    @rule(step=STEPS)
    def wait(self, step: int) -> None:
        """Time passes."""
        self.duel.now += step

    @rule(step=st.sampled_from([1, 1000, SECOND]))
    def set_back(self, step: int) -> None:
        """The switch's clock is set back."""
        self.duel.now = max(self.duel.now - step, 1)

    # What seldom happens by itself

    @rule(
        service=services,
        others=SOME,
        end=ENDS,
        margin=st.sampled_from([0, 0, 10, 449, 450, 899, 900]),
        dwell=DWELLS,
        evidence=st.integers(0, 3),
        start_within=STARTS,
    )
    def step_down(
        self,
        service: Kind,
        others: list[int],
        end: dict[str, int],
        margin: int,
        dwell: int,
        evidence: int,
        start_within: int,
    ) -> None:
        """A host has reason to make room for others, twice, and says so two times."""
        self.score(service, (0, OFF, OFF, OFF, OFF), 0)
        self.single(service, margin, dwell, evidence, start_within)
        for _ in range(2):
            self.round_of_reports(service, others, (0, 0, 0))
            host = self.duel.model.probe(self.duel.now, service.index, 0).host
            if host is not None:
                self.tell(service, host, **end)
                self.tell(service, host, **end)
            self.requests(service, [(0, 0x02), (1, 0x10)])

    @rule(service=services, flow=st.integers(0, 4), over=st.sampled_from([0, 1, 1, 30]), whole=st.booleans())
    def fill_tunnel(self, service: Kind, flow: int, over: int, whole: bool) -> None:
        """A packet to the remote node as long as its tunnel takes, or longer."""
        self.tell(service, world.REMOTE)
        self.pin(service, world.REMOTE)
        shape = 0x02 if service.protocol == world.TCP else 0x101
        client = self.flows[service.index][flow]
        room = world.TUNNEL_ROOM + over - (len(world.request(service, client, shape)) - world.ETHERNET)
        self.send(world.CLIENT_PORT, world.request(service, client, shape, 64, room, whole))

    @rule(service=services, on_no_live=st.sampled_from([1, 2, 0]), requests=REQUESTS, member=members)
    def fall_silent(self, service: Kind, on_no_live: int, requests: list[tuple[int, int]], member: int) -> None:
        """All nodes of a service, and then one of them speaks again."""
        self.configure(service, 64, SECOND, SECOND, 3 * SECOND, on_no_live)
        self.wait(3 * SECOND + 1)
        self.requests(service, requests)
        self.tell(service, member)
        self.requests(service, requests)

    @rule(service=services, host=members, other=members, copies=st.integers(0, 2), gone=st.booleans())
    def last_one_out(self, service: Kind, host: int, other: int, copies: int, gone: bool) -> None:
        """A host that is not ready falls silent, and may be taken away, while nobody else can take over."""
        self.instance(service, other, 1, 1, 0, copies, 0, 0)
        self.single(service, 0, 0)
        for member in MEMBERS:
            self.tell(service, member, ready=member == host)
        self.tell(service, host, ready=False)
        self.wait(SECOND + 1)
        self.withdraw(service, host, "instances", back=not gone)
        self.tell(service, other, ready=False)

    # A rule is chosen as often as any other: these happen more than once, since they are what mostly happens.

    @rule(service=services, requests=REQUESTS)
    def more_requests(self, service: Kind, requests: list[tuple[int, int]]) -> None:
        """As above."""
        self.requests(service, requests)

    @rule(service=services, requests=REQUESTS, members_=SOME, loads=LOADS)
    def requests_and_reports(
        self, service: Kind, requests: list[tuple[int, int]], members_: list[int], loads: tuple[int, int, int]
    ) -> None:
        """In turn."""
        for place, (flow, flags) in enumerate(requests):
            self.round_of_reports(service, [members_[place % len(members_)]], loads)
            self.requests(service, [(flow, flags)])

    @rule(service=services, requests=REQUESTS, members_=SOME, loads=LOADS, step=STEPS)
    def reports_and_requests(
        self,
        service: Kind,
        requests: list[tuple[int, int]],
        members_: list[int],
        loads: tuple[int, int, int],
        step: int,
    ) -> None:
        """After a while."""
        self.wait(step)
        self.round_of_reports(service, members_, loads)
        self.requests(service, requests)

    def teardown(self) -> None:
        """In the end all beliefs and all counters agree."""
        if not hasattr(self, "duel"):
            return
        for service in SERVICES:
            for member in MEMBERS:
                self.duel.probe(service.index, member)
        self.duel.check_counters()
        self.met.update(self.duel.model.drops)
        self.met.update(self.duel.model.events)
