"""What other variants would have made of the reports of an experiment: the model of the switch decides anew.

Until its first move a service's reports do not depend on how it is judged. So a variant's first move is what it would
have been, unless it comes after the run's end: a run ends soon after the move that was made in fact.
"""

from __future__ import annotations

import csv
import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from controller.fabric.file import load
from controller.fabric.schema import Fabric
from controller.fabric.settings import settings
from experiments.detection.judge import Work, spread
from experiments.detection.kinds import HERE, KINDS, MEASURED
from experiments.detection.rows import Facts
from experiments.detection.variants import VARIANTS, Variant, written
from greengrass_agent.emitter.instance import LOGGED
from greengrass_agent.logs.evidence import REPORTS
from hitless.steering.policies import Pinned
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import Settings
from hitless.wire.report import Report

WARM_UP_NS = 4 * 10**9
"""So long before its release a service is held where it is: longer than any dwell."""
STRETCH_NS = 60 * 10**9
"""A rest is cut into pieces of this length, since what follows a move that was not made cannot be known."""
RUN, REST = "run", "rest"

Told = tuple[int, int, Report]
"""When a report was emitted (ns), the member that it is of, and what it said."""


@dataclass(slots=True)
class Span:
    """A time in which a service is judged anew, held at `host` (a member) until `released_ns`."""

    what: str
    """RUN or REST."""
    number: int
    """The run's place among the runs, or the load of the rest."""
    host: int
    released_ns: int
    ended_ns: int
    told: list[Told] = field(default_factory=list)


def first_move(span: Span, judged_by: Settings) -> int | None:
    """When the service would have left its host in a span, in ns."""
    held = replace(judged_by, policy=Pinned(span.host))
    steering = ServiceSteering(held)
    for emitted_ns, member, report in span.told:
        if steering.settings is held and emitted_ns >= span.released_ns:
            steering.settings = judged_by
        steering.report(emitted_ns // 1000, member, report)
        if emitted_ns >= span.released_ns and steering.host != span.host:
            return emitted_ns
    return None


def spans(
    facts: Facts, hosted: Callable[[str, int], str | None], service: str, members: Mapping[str, int]
) -> list[Span]:
    """The runs of `facts` and the pieces of its rests. `hosted` tells the node that served at a time."""
    found = [
        Span(RUN, at, members[HERE], one.released_ns, one.ended_ns) for at, one in enumerate(facts.runs) if not one.note
    ]
    for rest in facts.rests:
        for begin in range(rest.began_ns, rest.ended_ns - STRETCH_NS + 1, STRETCH_NS):
            node = hosted(service, begin)
            if node is not None:
                found.append(Span(REST, rest.load, members[node], begin, begin + STRETCH_NS))
    return sorted(found, key=lambda one: one.released_ns)


def filled(told: Iterable[Told], wanted: Sequence[Span]) -> Iterator[Span]:
    """The spans, each with its reports, in the order of their ends. `told` and `wanted` are in the order of time."""
    waiting, active = list(reversed(wanted)), list[Span]()
    for one in told:
        while waiting and waiting[-1].released_ns - WARM_UP_NS <= one[0]:
            active.append(waiting.pop())
        for span in [span for span in active if one[0] > span.ended_ns]:
            active.remove(span)
            yield span
        for span in active:
            span.told.append(one)
    yield from active


def reports(folder: Path, service: str, members: Mapping[str, int]) -> Iterator[Told]:
    """An experiment's reports of a service's instances, in the order of time. Raises OSError."""
    return heapq.merge(
        *(
            _reports(REPORTS.path(folder / "logs" / "nodes" / node, service), member)
            for node, member in members.items()
        ),
        key=itemgetter(0),
    )


def _reports(file: Path, member: int) -> Iterator[Told]:
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            if None in row.values():
                continue  # the last row of an experiment that was ended
            values: dict[str, Any] = {name: int(row[name]) for name in ("epoch", "sequence", *LOGGED)}
            yield int(row["emitted_ns"]), member, Report(service_id=0, node_id=member, **values)


def fabric_of(base: Path, variant: Variant) -> Fabric:
    """The experiment's fabric under a variant."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / base.name
        file.write_text(written(base.read_text(), variant))
        return load(file)


def replay(
    folder: Path, facts: Facts, work: Work, variants: Sequence[str], tell: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """What each variant would have come to, by its name. `tell` hears of the progress. Raises OSError, ValueError."""
    base = folder / "fabric.yaml"
    fabrics = {name: fabric_of(base, VARIANTS[name]) for name in variants}
    runs: dict[str, dict[int, int]] = {name: {} for name in variants}
    rests: dict[str, list[tuple[int, bool]]] = {name: [] for name in variants}
    for service in MEASURED:
        instances = next(iter(fabrics.values())).services[service].instances
        members = {node: one.member for node, one in instances.items()}
        wanted = spans(facts, work.node_at, service, members)
        judges = {name: settings(fabric, service) for name, fabric in fabrics.items()}
        for done, span in enumerate(filled(reports(folder, service, members), wanted), 1):
            tell(f"{service}: {done} of {len(wanted)}")
            for name, judged_by in judges.items():
                moved = first_move(span, judged_by)
                if span.what == REST:
                    rests[name].append((span.number, moved is not None))
                elif moved is not None and service in KINDS[facts.runs[span.number].kind].services:
                    runs[name][span.number] = min(moved, runs[name].get(span.number, moved))
            span.told.clear()
    return {name: _figures(facts, runs[name], rests[name]) for name in variants}


def _figures(facts: Facts, moved: Mapping[int, int], rests: Sequence[tuple[int, bool]]) -> dict[str, Any]:
    """`moved`: the first move of each run that had one, in ns. `rests`: of each piece its load, and if one was."""
    disturbed = [
        (one, moved.get(at)) for at, one in enumerate(facts.runs) if not one.note and not KINDS[one.kind].stays
    ]
    early = sum(first is not None and first < one.began_ns for one, first in disturbed)
    found = [(first - one.began_ns) / 1e6 for one, first in disturbed if first is not None and first >= one.began_ns]
    return {
        "runs": len(disturbed),
        "early": early,
        "found": len(found),
        "found_ms": spread(found),
        "rest": {
            str(load_): {
                "minutes": sum(one == load_ for one, _ in rests),
                "moved": sum(one == load_ and gone for one, gone in rests),
            }
            for load_ in sorted({one for one, _ in rests})
        },
    }
