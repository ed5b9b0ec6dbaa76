"""Deployments that an operator sends: checked, kept on disk, rolled out, and taken back where they do not come up."""

import asyncio
import base64
import io
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from semantic_version import Version  # type: ignore[import-untyped]

from controller.fabric import additions
from controller.fabric.additions import AdditionError
from controller.fabric.schema import Fabric
from controller.nodes import deployments
from controller.nodes.components import Component, Library, base_url, pack
from controller.nodes.dependencies import DependencyError
from controller.nodes.deployed import Deployed
from controller.nodes.deployments import DeploymentError
from controller.nodes.needs import needs
from controller.observe.log import EventLog
from controller.operator import logs, rolling
from controller.operator.documents import DeployEntry, DeployResult, LogLine, Status, UndeployResult
from controller.operator.overrides import CommandError
from controller.operator.requests import Deploy
from controller.running import Running
from hitless.component import recipe as recipes
from hitless.component.endpoint import ServiceProtocol
from hitless.component.placeholders import next_patch
from hitless.component.recipe import Recipe, RecipeError
from hitless.files import StateError
from hitless.located import Source, parse
from hitless.modes import IN_NETWORK
from hitless.mqtt.messages import DeploymentDocument, LogsAsked, LogsTold

log = logging.getLogger(__name__)

LOOKED_AT_S = 0.2
SETTLED_S = 3.0
"""What a controller gets to hear of its nodes at most."""
LOG_LINES = 20
"""Of the log of a component that does not come up."""
RECIPE = "recipe.yaml"
_FILE = re.compile(r"(?!\.{1,2}$)[^/\x00]{1,200}")
KEPT = 3
"""Versions of a component that stay on disk."""
PROTOCOLS: dict[str, ServiceProtocol] = {"http": "tcp", "tcp": "tcp", "udp": "udp"}
"""What a recipe's configuration may call a service's protocol."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a deployment makes of the fabric and the components."""

    component: Component
    new: bool
    """Whether the component was not there in this version."""
    fabric: Fabric
    library: Library
    services: list[str]
    added: dict[str, additions.Entry]
    """The service that is added."""
    nodes: list[str]
    """Those that it changes something for."""
    told: list[str]


class Deploying:
    """The deployments that the API takes, one at a time."""

    def __init__(self, running: Running, deployed: Deployed, events: EventLog) -> None:
        self._running = running
        self._deployed = deployed
        self._events = events
        self._task: asyncio.Task[object] | None = None

    def _refuse_while_busy(self) -> None:
        if self._task is not None and not self._task.done():
            raise CommandError("another deployment is under way: wait for its end")

    async def begin(self, asked: Deploy) -> AsyncIterator[DeployEntry]:
        """Check a deployment and begin it; gives its steps and, at last, what came of it. It goes on without who asked.

        Raises CommandError where it cannot be carried out; then nothing has changed.
        """
        self._refuse_while_busy()
        # From here on to the task nothing waits, so that two cannot begin at once.
        begun: list[Path] = []
        try:
            plan = self._plan(asked, begun)
            if plan.new:
                self._deployed.keep(begun[-1], plan.component)
            if plan.added:
                try:
                    self._deployed.save_services({**self._deployed.services(), **plan.added})
                except StateError:
                    if plan.new:
                        self._deployed.drop(plan.component.recipe.name, plan.component.recipe.version)
                    raise
        except (StateError, RecipeError, AdditionError, DeploymentError) as error:
            text = str(error)
            for folder in begun:
                text = text.replace(f"{folder}/", "")
            raise CommandError(text) from error
        finally:
            for folder in begun:
                self._deployed.give_up(folder)
        steps: asyncio.Queue[DeployEntry] = asyncio.Queue()
        self._task = asyncio.create_task(self._carry_out(plan, steps))
        return _until_result(steps)

    async def remove(self, service: str) -> UndeployResult:
        """Take away a service that was deployed, and its component where nothing else has it. Raises CommandError."""
        self._refuse_while_busy()
        fabric, library = self._running.fabric, self._running.library
        try:
            added = self._deployed.services()
            if service not in added or service not in fabric.services:
                there = ", ".join(name for name in added if name in fabric.services) or "none"
                raise CommandError(
                    f"{service} is no service that was deployed, of which there are: {there}; what stands in the "
                    "fabric file goes with its entry there"
                )
            component = fabric.services[service].component
            rest = {name: spec for name, spec in fabric.services.items() if name != service}
            fabric = fabric.model_copy(update={"services": rest})
            gone = [] if additions.served_by(fabric, component) else self._deployed.versions(component)
            library = Library(
                one for one in library.all() if one.recipe.name != component or one.recipe.version not in gone
            )
            deployments.check(fabric, library)
            self._deployed.save_services({name: entry for name, entry in added.items() if name != service})
        except (StateError, DeploymentError) as error:
            raise CommandError(str(error)) from error
        for version in gone:
            self._deployed.drop(component, version)
        self._task = asyncio.create_task(self._replace(fabric, library))
        await self._task
        message = f"{service} is taken away" + (f", and {component} {', '.join(gone)}" if gone else "")
        return UndeployResult(service=service, component=component, versions=gone, message=message)

    def _plan(self, asked: Deploy, begun: list[Path]) -> _Plan:
        """`begun` gets the folders that are made, the component's last.

        Raises CommandError, StateError, RecipeError, AdditionError, DeploymentError.
        """
        before, library = self._running.fabric, self._running.library
        component, new = self._component(asked, begun)
        more = Library([*library.all(), component]) if new else library
        fabric, services, added = _services(before, component.recipe, asked)
        at_node_addresses = self._running.controller.steering.at_node_addresses
        deployments.check(fabric, more, at_node_addresses=at_node_addresses)
        having = [node for node, one in _documents(fabric, more).items() if component.recipe.name in one.components]
        changed = rolling.changed_nodes(_ids(before, library), _ids(fabric, more))
        nodes = [node for node in changed if node in having]
        told = [f"{component.recipe.name} needs {need.text}" for need in needs(component.recipe, more)]
        return _Plan(component, new, fabric, more, services, added, nodes, told)

    def _component(self, asked: Deploy, begun: list[Path]) -> tuple[Component, bool]:
        """The component as it is to be served, and whether it is new. Raises CommandError, StateError, RecipeError."""
        for file in asked.files:
            if not _FILE.fullmatch(file):
                raise CommandError(f"files: expected the name of a file in no folder, got {file[:200]!r}")
        files = {name: base64.b64decode(content) for name, content in asked.files.items()}
        source = parse(Path(RECIPE), asked.recipe, RecipeError)
        recipe = recipes.check(source)
        versions = {one.recipe.version: one for one in self._running.library.all() if one.recipe.name == recipe.name}
        newest = self._running.library[recipe.name].recipe.version if versions else None
        if asked.next_patch and newest is not None:
            # The same as the newest one is no reason for another.
            there, same = versions[newest], self._packed(source, recipe.name, newest, files, begun)
            if _equal(there, same):
                return there, False
        version = next_patch(versions) if asked.next_patch else recipe.version
        component = self._packed(source, recipe.name, version, files, begun)
        if version in versions:
            if _equal(versions[version], component):
                return versions[version], False
            raise CommandError(
                f"{recipe.name} {version} is there and is another: give this one a version of its own "
                "(NEXT_PATCH in gdk-config.json is always the next one)"
            )
        if newest is not None and Version(version) < Version(newest):
            raise CommandError(f"{recipe.name} {version} is older than {newest}, which is there")
        return component, True

    def _packed(
        self, source: Source, name: str, version: str, files: Mapping[str, bytes], begun: list[Path]
    ) -> Component:
        key = next(key for key in source.data if str(key).lower() == "componentversion")
        source.data[key] = version
        text = io.StringIO()
        yaml = YAML(typ="rt")
        yaml.width = 4096
        yaml.dump(source.data, text)
        begun.append(self._deployed.begin(text.getvalue(), files, name, version))
        return pack(begun[-1], base_url(self._running.fabric))

    async def _carry_out(self, plan: _Plan, steps: asyncio.Queue[DeployEntry]) -> None:
        try:
            steps.put_nowait(await self._rolled_out(plan, steps))
        except Exception as error:
            log.exception("the deployment of %s has failed", plan.component.recipe.name)
            steps.put_nowait(self._result(plan, error=str(error) or type(error).__name__))

    async def _rolled_out(self, plan: _Plan, steps: asyncio.Queue[DeployEntry]) -> DeployResult:
        if not plan.new and not plan.added:
            place = rolling.places(await self._running.status(), plan.services)
            return self._result(plan, address=place)
        before, first_event = (self._running.fabric, self._running.library), self._events.last
        recipe = plan.component.recipe
        log.info("deployment of %s %s to %s", recipe.name, recipe.version, ", ".join(plan.nodes) or "no node")
        controller = await self._running.replace(plan.fabric, plan.library)
        steered = controller.steering.mode == IN_NETWORK
        watched = rolling.Rolling(recipe.name, plan.services, plan.nodes, steered, time.monotonic())
        while True:
            status = await self._running.status()
            for step in watched.look(status, time.monotonic()):
                steps.put_nowait(step)
            if watched.ended:
                break
            await asyncio.sleep(LOOKED_AT_S)
        if not watched.failed:
            offline = f"{', '.join(watched.offline)}: offline; it comes up there when it is back"
            self._forget_old(recipe.name)
            there = [node for node in plan.nodes if node not in watched.offline]
            address = rolling.places(status, plan.services)
            error = offline if watched.offline else None
            return self._result(plan, nodes=there, address=address, error=error, stays=True)
        node = watched.failed[0]
        reason = rolling.why(node, self._events.since(first_event)) or watched.details(node) or "no reason is known"
        lines = await self._end_of_log(recipe.name, node)
        await self._take_back(plan, *before)
        error = f"it does not come up on {node}: {reason}; it was taken back everywhere"
        return self._result(plan, error=error, lines=lines, nodes=[])

    def _forget_old(self, name: str) -> None:
        """Forget versions of a component that no node needs, but for the last ones."""
        fabric, library = self._running.fabric, self._running.library
        own = [one for one in library.all() if one.recipe.name == name]
        old = sorted(own, key=lambda one: Version(one.recipe.version))[:-KEPT]
        fewer = Library(one for one in library.all() if one not in old)
        try:
            needed = _ids(fabric, fewer) != _ids(fabric, library)
        except DependencyError:
            return
        if not needed:
            self._running.library = fewer
            for one in old:
                self._deployed.drop(name, one.recipe.version)

    async def _take_back(self, plan: _Plan, fabric: Fabric, library: Library) -> None:
        recipe = plan.component.recipe
        try:
            kept = {name: entry for name, entry in self._deployed.services().items() if name not in plan.added}
            self._deployed.save_services(kept)
            if plan.new:
                self._deployed.drop(recipe.name, recipe.version)
        except StateError as error:
            log.error("%s: a controller that starts after this one tries %s again", error, recipe.name)
        await self._replace(fabric, library)

    async def _replace(self, fabric: Fabric, library: Library) -> None:
        """Have another controller take over, and wait a little until it knows of the nodes that were there."""
        before = _online(await self._running.status())
        await self._running.replace(fabric, library)
        for _ in range(round(SETTLED_S / LOOKED_AT_S)):
            if _online(await self._running.status()) >= before:
                break
            await asyncio.sleep(LOOKED_AT_S)

    async def _end_of_log(self, component: str, node: str) -> list[LogLine]:
        commands = await self._running.commands()

        async def ask(node: str, asked: LogsAsked) -> LogsTold:
            return await commands.log_piece(component, node, asked)

        read = logs.read(ask, [node], since_s=None, tail=LOG_LINES, follow=False)
        return [entry async for entry in read if isinstance(entry, LogLine)]

    def _result(
        self,
        plan: _Plan,
        *,
        nodes: list[str] | None = None,
        address: str | None = None,
        error: str | None = None,
        lines: list[LogLine] | None = None,
        stays: bool = False,
    ) -> DeployResult:
        recipe = plan.component.recipe
        keep = "".join(additions.written(name, entry) for name, entry in plan.added.items())
        name = f"{recipe.name} {recipe.version}"
        if error is not None:
            message = f"{name}: {error}"
        elif not stays:
            message = f"{name} is there already; nothing has changed"
        else:
            serves = f", as {', '.join(plan.services)} at {address}" if plan.services and address else ""
            message = f"{name} runs on {', '.join(nodes or []) or 'no node'}{serves}"
        return DeployResult(
            component=recipe.name,
            version=recipe.version,
            services=plan.services,
            nodes=nodes if nodes is not None else [],
            changed=stays,
            address=address,
            keep=keep if keep and stays else None,
            told=plan.told,
            error=error,
            log=lines or [],
            message=message,
        )


async def _until_result(steps: asyncio.Queue[DeployEntry]) -> AsyncIterator[DeployEntry]:
    while True:
        entry = await steps.get()
        yield entry
        if isinstance(entry, DeployResult):
            return


def _online(status: Status) -> set[str]:
    return {name for name, node in status.nodes.items() if node.online}


def _equal(one: Component, other: Component) -> bool:
    return (one.document, dict(one.files)) == (other.document, dict(other.files))


def _documents(fabric: Fabric, library: Library) -> dict[str, DeploymentDocument]:
    return deployments.documents(fabric, library, None)


def _ids(fabric: Fabric, library: Library) -> dict[str, str]:
    """The id of each node's deployment."""
    return {node: one.deployment_id for node, one in _documents(fabric, library).items()}


def _services(fabric: Fabric, recipe: Recipe, asked: Deploy) -> tuple[Fabric, list[str], dict[str, additions.Entry]]:
    """The fabric with the component's services, their names, and the one that is added. Raises what `_plan` raises."""
    if named := additions.served_by(fabric, recipe.name):
        there = {node for name in named for node in fabric.services[name].instances}
        if asked.nodes and set(asked.nodes) != there:
            raise CommandError(
                f"{', '.join(named)} has {recipe.name} on {', '.join(sorted(there))}: another node is added in the "
                "fabric file; --node is for a new service"
            )
        return fabric, named, {}
    if any(recipe.name in node.components for node in fabric.nodes.values()):
        return fabric, [], {}
    default = recipe.configuration.default
    service = default.get("service")
    if not isinstance(service, str):
        raise CommandError(
            f"{recipe.name} is no function, since its configuration has no `service`: name it in the fabric file, in "
            "`components` of the nodes that are to run it"
        )
    protocol = asked.protocol or PROTOCOLS.get(str(default.get("protocol", "http")))
    if protocol is None:
        raise CommandError(
            f"expected http or udp as protocol in the recipe's configuration, got {default['protocol']!r}"
        )
    entry = additions.added(fabric, service, recipe.name, protocol, asked.nodes, asked.port)
    return additions.with_service(fabric, service, entry), [service], {service: entry}
