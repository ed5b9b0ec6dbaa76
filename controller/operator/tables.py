"""What the command line prints of a status document."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.operator.documents import Status, SwitchStatus, status_name

MAX_AGE_MS = 9999.9


def status(document: Status) -> RenderableType:
    """The whole document."""
    parts: list[RenderableType] = [_headline(document)]
    parts += [Text(f"warning: {text}", "yellow") for text in document.warnings]
    parts += [_switch(name, switch) for name, switch in document.switches.items()]
    doubts = [_doubt(*one) for one in _doubted(document)]
    return Group(*parts, *doubts, Text(), _services(document), *_shares(document), Text(), _nodes(document))


def watched(document: Status, events: Sequence[str]) -> RenderableType:
    """The whole document, and the last events below it."""
    return Group(status(document), Text(), *(Text(event, no_wrap=True, overflow="ellipsis") for event in events))


def _headline(document: Status) -> Text:
    broker = document.broker
    text = Text(f"fabric {document.fabric}, {document.mode}, broker {broker.address} ")
    if broker.connected:
        return text.append("connected", "green")
    return text.append(f"not connected: {broker.error}", "red")


def _switch(name: str, switch: SwitchStatus) -> Text:
    if switch.connected:
        text = Text(f"switch {name} ({switch.target}): ")
        return text.append("connected", "green").append(f", pipeline {switch.cookie}")
    return Text("switch ").append(switch.error or f"{name} ({switch.target}): connecting", "red")


def _doubted(document: Status) -> Iterator[tuple[str, str, str]]:
    for name, service in document.services.items():
        for node, instance in service.instances.items():
            if instance.doubt is not None:
                yield name, node, instance.doubt


def _doubt(service: str, node: str, doubt: str) -> Text:
    return Text(f"{service} on {node} ").append(doubt, "red")


def _services(document: Status) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("SERVICE", "POLICY", "NODE", "", "STATUS"):
        table.add_column(column, no_wrap=True)
    for column in ("RANK", "AGE ms", "REPORT", "STEERED"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, service in document.services.items():
        policy = service.policy
        if service.held:
            policy = "held" if service.held_for_s is None else f"held {service.held_for_s:.1f} s"
        for row, (node, instance) in enumerate(service.instances.items()):
            is_host = node == service.host
            table.add_row(
                name if row == 0 else "",
                policy if row == 0 else "",
                node,
                "host" if is_host else "",
                Text(
                    status_name(instance.status)
                    + (", to drain" if instance.draining else "")
                    + (", doubted" if instance.doubt is not None else ""),
                    "green" if instance.eligible else "red",
                ),
                str(instance.rank),
                "never" if instance.age_us is None else f"{min(instance.age_us / 1000, MAX_AGE_MS):.1f}",
                f"{instance.epoch}/{instance.sequence}",
                str(instance.steered_packets),
                style="bold" if is_host else "",
            )
    return table


def _shares(document: Status) -> Iterator[Text]:
    """A line for each share of the flow store that is nearly full."""
    for name, service in document.services.items():
        share = service.share
        if share is not None and share.nearly_full and share.taken is not None and share.without_slot is not None:
            yield Text(
                f"{name}: its share of the flow store ({share.slots} slots) is nearly full: of the slots that new "
                f"flows looked at {share.taken:.0%} were taken, {share.without_slot:.0%} of them found none",
                "yellow",
            )


def _nodes(document: Status) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("NODE", "", "DEPLOYMENT", "COMPONENTS"):
        table.add_column(column, overflow="fold")
    for name, node in document.nodes.items():
        components = ", ".join(
            f"{component} {state}" + (f" ({details})" if (details := node.details.get(component)) else "")
            for component, state in node.components.items()
        )
        online = Text("online", "green") if node.online else Text("offline", "red")
        if node.excluded:
            online.append(", excluded", "red")
        deployment = f"{node.deployment}: {node.step}" if node.step else node.deployment
        table.add_row(name, online, deployment, components or "none known")
    return table
