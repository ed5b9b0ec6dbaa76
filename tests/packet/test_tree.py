"""The tree's root is the exact best of up to 64 members, whatever the order of updates; services do not mix."""

import random

from hitless.steering.tree import Tree
from hitless.words import NO_MEMBER_16
from tests.packet.bench import Bench


def test_the_root_is_the_exact_best_after_every_report(bench: Bench) -> None:
    services = [bench.service(members=64), bench.service(members=64)]
    trees = [Tree(), Tree()]
    chance = random.Random(1)
    for step in range(300):
        which = chance.randrange(2)
        member = chance.choice((0, 1, 31, 32, 63)) if step % 3 == 0 else chance.randrange(64)
        cpu, ready, draining = chance.choice((0, 1, 2, 300, 1000)), chance.random() > 0.2, chance.random() > 0.8
        services[which].report(member, cpu=cpu, ready=ready, draining=draining)
        trees[which].change(member, 0 if not ready else 1 if draining else 65535 - cpu)
        told, best = services[which].probe(member), trees[which].best
        assert told["best_rank"] == best.rank
        assert told["best"] == (best.member if best.rank else NO_MEMBER_16), (
            "of equals the half that was not touched wins"
        )
