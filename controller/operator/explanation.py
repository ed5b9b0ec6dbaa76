"""What the command line prints of one service: what its ranks are made of, and why it is where it is."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.operator.documents import EvidenceStatus, InstanceStatus, ServiceStatus, status_name
from hitless.words import LAST_RESORT, LATE_START, NOT_ELIGIBLE

US_PER_MS = 1000


def of(name: str, service: ServiceStatus) -> RenderableType:
    """The instances' loads by part, and a sentence or two."""
    return Group(Text(f"{name}: {service.policy}"), _instances(service), Text(), *map(Text, sentences(service)))


def sentences(service: ServiceStatus) -> list[str]:
    """Why new work goes where it goes. Pure."""
    if service.host is None:
        return ["No single instance is the host: each piece of new work goes where the policy sends it."]
    host = service.instances.get(service.host)
    others = {node: one for node, one in service.instances.items() if node != service.host}
    if host is None or not others:
        return [f"{service.host} is the host: nobody else could be."]
    best = max(others, key=lambda node: others[node].rank)
    told = [_difference(service.host, host, best, others[best])]
    if service.held:
        told.append(f"The operator keeps it on {service.held_on}.")
    elif service.evidence is not None:
        told.append(_evidence(service.evidence, others[best].rank - host.rank, host))
    return told


def _difference(host: str, here: InstanceStatus, best: str, there: InstanceStatus) -> str:
    for node, one in ((host, here), (best, there)):
        if one.rank in (NOT_ELIGIBLE, LAST_RESORT):
            kind = "is not eligible" if one.rank == NOT_ELIGIBLE else "is a last resort"
            return f"{node} {kind}: {status_name(one.status)}."
    if here.rank == LATE_START:
        return f"{host} would start new work too late: its backlog is {_ms(here.backlog_us)} ms."
    lead = there.rank - here.rank
    if lead > 0:
        return f"{best} is better than {host} by {lead}: {host} has {_parts(there.load, here.load)}."
    if lead < 0:
        return f"{host} is better than {best} by {-lead}: {best} has {_parts(here.load, there.load)}."
    return f"{best} is as good as {host}."


def _parts(less: dict[str, int], more: dict[str, int]) -> str:
    """By how much each part is more, the largest first."""
    differences = {part: more.get(part, 0) - less.get(part, 0) for part in dict.fromkeys((*more, *less))}
    ordered = sorted(differences.items(), key=lambda one: -abs(one[1]))
    return ", ".join(f"{part} {difference:+d}" for part, difference in ordered if difference) or "no part of the load"


def _evidence(evidence: EvidenceStatus, lead: int, host: InstanceStatus) -> str:
    if host.rank <= LATE_START:
        return "It moves at once if another one is better."
    if evidence.reports == 0:
        within = "within" if lead <= evidence.margin else "beyond"
        return f"That is {within} the margin of {evidence.margin}; nothing speaks for another host."
    return (
        f"The margin is {evidence.margin}; evidence for another host: {evidence.reports:g} of {evidence.needed} "
        f"reports, for {evidence.lasted_us / US_PER_MS:.0f} ms."
    )


def _instances(service: ServiceStatus) -> Table:
    parts = dict.fromkeys(part for one in service.instances.values() for part in one.load)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("NODE", "", "STATUS"):
        table.add_column(column, no_wrap=True)
    for column in ("RANK", "LOAD", *parts, "BACKLOG ms", "AGE ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for node, one in service.instances.items():
        table.add_row(
            node,
            "host" if node == service.host else "",
            Text(status_name(one.status), "green" if one.eligible else "red"),
            str(one.rank),
            str(sum(one.load.values())),
            *(str(one.load.get(part, "")) for part in parts),
            _ms(one.backlog_us),
            _ms(one.age_us),
            style="bold" if node == service.host else "",
        )
    return table


def _ms(value_us: int | None) -> str:
    return "-" if value_us is None else f"{value_us / US_PER_MS:.1f}"
