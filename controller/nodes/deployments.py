"""The deployment that each node should have: its services' components, configured to find other services, and what
those components need. Pure.
"""

import hashlib
from collections.abc import Mapping, Sequence

from controller.fabric.schema import Fabric
from controller.nodes.components import Component, Library
from controller.nodes.dependencies import DependencyError
from hitless.component.endpoint import ServiceEndpoint
from hitless.component.service_configuration import ServiceConfiguration
from hitless.component.spelling import any_case
from hitless.located import Location
from hitless.mqtt.messages import ComponentDeployment, ConfigurationUpdate, DeploymentDocument, RecipeSource

ID_LENGTH = 16


class DeploymentError(Exception):
    """The fabric file and the components do not fit; the message has a line for each mistake."""

    def __init__(self, found: Sequence[tuple[Location, str]]) -> None:
        super().__init__("\n".join(problem for _, problem in found))
        self.found = found
        """Each with its place in the fabric file."""


def check(fabric: Fabric, components: Library, *, at_node_addresses: bool = False) -> None:
    """Raises DeploymentError unless every service has a component and what it needs, and no node one for two services.

    `at_node_addresses`: no switch steers, so the services of a node must differ in port or protocol.
    """
    known = ", ".join(sorted(components)) or "none"
    mistakes: list[tuple[Location, str]] = []
    taken: dict[tuple[str, str], str] = {}
    ports: dict[tuple[str, str, int], str] = {}
    for name, service in fabric.services.items():
        if service.component not in components:
            problem = f"service {name}: expected one of the components {known}, got {service.component}"
            mistakes.append((("services", name, "component"), problem))
        for node in service.instances:
            other = taken.setdefault((node, service.component), name)
            if other != name:
                problem = f"service {name}: {service.component} already serves {other} on {node}"
                mistakes.append((("services", name, "component"), problem))
            other = ports.setdefault((node, service.protocol, service.port), name)
            if at_node_addresses and other != name:
                place = f"{service.protocol} port {service.port} of {node}"
                problem = f"service {name}: expected a port of its own, but {other} has {place} too"
                mistakes.append((("services", name, "port"), problem))
        found = components.get(service.component)
        if found is not None and any_case(found.recipe.configuration.default, "triggers"):
            problem = f"service {name}: expected triggers here, not in the configuration of {service.component}"
            mistakes.append((("services", name, "component"), problem))
    for node, spec in fabric.nodes.items():
        for number, component in enumerate(spec.components):
            if component not in components:
                problem = f"node {node}: expected some of the components {known}, got {component}"
                mistakes.append((("nodes", node, "components", number), problem))
    if not mistakes:
        needed = {node: _missing(fabric, components, node) for node in fabric.nodes}
        mistakes = [(("nodes", node), problem) for node, problems in needed.items() for problem in problems]
    if mistakes:
        raise DeploymentError(mistakes)


def _missing(fabric: Fabric, components: Library, node: str) -> list[str]:
    """What the components of a node need and cannot have there."""
    deployed = _deployed(fabric, node)
    try:
        resolved = components.resolve({*deployed, *fabric.nodes[node].components})
    except DependencyError as error:
        return [f"node {node}: {error}"]
    return [
        f"node {node}: {name} is needed there and serves {one.recipe.configuration.default['service']}: "
        "expected an instance of a service with it on this node"
        for name, one in resolved.items()
        if name not in deployed and one.recipe.configuration.default.get("service") is not None
    ]


def _deployed(fabric: Fabric, node: str) -> dict[str, str]:
    """The components that serve on a node, with their services."""
    return {service.component: name for name, service in fabric.services.items() if node in service.instances}


def documents(
    fabric: Fabric, components: Library, hosts: Mapping[str, str | None] | None
) -> dict[str, DeploymentDocument]:
    """The deployment of every node.

    `hosts`: where no switch steers, the node that serves each service now; None where switches steer.
    """
    return {node: _document(fabric, components, hosts, node) for node in fabric.nodes}


def room(fabric: Fabric, components: Library) -> dict[str, int]:
    """By service, the most requests that an instance can hold: those that wait, those that are executed, and those
    that workers of an earlier launch still have. Of all versions the largest, since a node may run any of them."""
    found = dict.fromkeys(fabric.services, 0)
    for name, service in fabric.services.items():
        for component in components.all():
            if component.recipe.name == service.component:
                default = component.recipe.configuration.default
                queue, workers = (
                    default.get(field, ServiceConfiguration.model_fields[field].default)
                    for field in ("queue_limit", "concurrency")
                )
                found[name] = max(found[name], queue + 2 * workers)
    return found


def _document(
    fabric: Fabric, components: Library, hosts: Mapping[str, str | None] | None, node: str
) -> DeploymentDocument:
    deployed = _deployed(fabric, node)
    resolved = components.resolve({*deployed, *fabric.nodes[node].components})
    content = DeploymentDocument(
        deployment_id="",
        components={
            name: ComponentDeployment(
                component_version=component.recipe.version,
                configuration_update=_update(fabric, component, deployed[name], hosts, node)
                if name in deployed
                else None,
            )
            for name, component in resolved.items()
        },
        recipes={
            name: RecipeSource(uri=component.uri, sha256=component.sha256) for name, component in resolved.items()
        },
    )
    # Equal content, equal id: that is how a node's word on what it has is compared with what it should have.
    digest = hashlib.sha256(content.encode()).hexdigest()[:ID_LENGTH]
    return content.model_copy(update={"deployment_id": digest})


def _update(
    fabric: Fabric, component: Component, own: str, hosts: Mapping[str, str | None] | None, node: str
) -> ConfigurationUpdate:
    endpoints = _endpoints(fabric, component, own, hosts, node)
    triggers = fabric.services[own].triggers
    configuration = ServiceConfiguration(service=own, endpoints=endpoints, triggers=triggers)
    # A merge alone would leave the triggers that have been taken out of the fabric file.
    return ConfigurationUpdate(reset=("/triggers",), merge=configuration.written())


def _endpoints(
    fabric: Fabric, component: Component, own: str, hosts: Mapping[str, str | None] | None, node: str
) -> dict[str, ServiceEndpoint]:
    """Endpoints of the component's own service and of those it calls: all, unless its recipe names them."""
    named = component.recipe.configuration.default.get("endpoints")
    called = {own, *named} if isinstance(named, Mapping) else set(fabric.services)
    endpoints = {}
    for name in sorted(called & set(fabric.services)):
        service = fabric.services[name]
        address = service.address
        if hosts is not None:
            # Until a host is chosen any instance will do, and its own is the one that the component itself is.
            host = node if name == own else hosts.get(name) or next(iter(service.instances))
            address = fabric.hosts[host].address
        endpoints[name] = ServiceEndpoint(str(address), service.port, service.service_id, service.protocol)
    return endpoints
