"""What keeps a node's components from harming it: users, environments, views and limits, put together.

The parts are in `greengrass_agent.host`: users, environment, view, confine, limits.
"""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.plan import Components, Installed
from greengrass_agent.deployment.store import Store
from greengrass_agent.host import environment
from greengrass_agent.host.cgroup import CgroupError, Group
from greengrass_agent.host.confine import Confinement, variables
from greengrass_agent.host.environment import REQUIREMENTS, Environment, NodePython
from greengrass_agent.host.limits import Limits
from greengrass_agent.host.users import User, Users
from greengrass_agent.host.view import View, own, view
from hitless.files import StateError
from hitless.mqtt.messages import UNLIMITED, SystemResourceLimits

log = logging.getLogger(__name__)

BUILD_S = 900.0
"""How long pip may take to build a component's environment."""
QUOTED_LINES = 3
"""Of pip's output in the reason why an environment cannot be built."""
QUOTED_BYTES = 600
_BUILDER = ".environments"
"""User and control group of pip: no component has this name, so none has a hand in the packages of others."""
_ROOT = User(0, 0, "root")


class EnvironmentBuildError(Exception):
    """A component's requirements cannot be installed; the message has pip's last lines."""


class Isolation:
    """How the scripts of a node's components are confined."""

    def __init__(self, config: AgentConfig, store: Store, budget: Group) -> None:
        self._config = config
        self._store = store
        self._budget = budget
        self._users = Users(store.users, config.thing, config.run_as)
        self._python = NodePython.own()
        if os.geteuid() != 0:
            log.warning("not root: the scripts of components run as the agent's own user, and may read what it may")

    def limits(self, installed: Installed) -> Limits:
        """What a script of the component may use: as its deployment says, or else the node's owner."""
        return self._limits(installed.limits)

    def _limits(self, wanted: SystemResourceLimits) -> Limits:
        config = self._config
        default = None if config.component_memory_mb is None else config.component_memory_mb << 20
        return Limits(
            default if wanted.memory is None else wanted.memory << 10,
            config.component_cpus if wanted.cpus is None else wanted.cpus,
            config.component_processes,
        )

    def confine(
        self,
        name: str,
        installed: Installed,
        *,
        privileged: bool,
        gateway: Path | None,
        needed: Components = MappingProxyType({}),
    ) -> Confinement:
        """How a script of the component is started; its folders and its environment are made if they are not there.

        `privileged`: the script asks to be run as root. `gateway` is the folder with the gateway's socket. `needed` are
        the components whose folders it may read. Raises OSError, StateError.
        """
        store, work = self._store, self._store.work(name)
        user = self._users.of(name, installed.user)
        artifacts = [store.artifacts(name, installed), store.unarchived(name, installed)]
        others = [
            folder
            for other, one in needed.items()
            for folder in (store.artifacts(other, one), store.unarchived(other, one), store.work(other))
        ]
        for folder in (work, *artifacts, *others):
            folder.mkdir(parents=True, exist_ok=True)
        place, private = self._environment(name, installed)
        if not place.complete(self._python):
            place.begin(self._python)
            place.finish(self._python)
        if user is not None:
            for folder in [work, *artifacts, *([place.venv] if private else [])]:
                if folder.exists():
                    own(folder, user)
        return self._confinement(
            None if privileged and self._config.allow_privilege else user,
            place,
            readable=[
                *artifacts,
                *others,
                *([] if private else [place.venv]),
                *([gateway] if gateway is not None else []),
                store.ipc_socket.parent,
            ],
            writable=[work, *([place.venv] if private else [])],
            work=work,
            limits=self.limits(installed),
        )

    async def build(self, components: Components) -> None:
        """Build the environments of components that name requirements. Raises EnvironmentBuildError.

        What components import and cannot write to is compiled, or each of their processes would do it again.
        """
        folders = [self._python.runtime]
        for name, installed in components.items():
            folders += [self._store.artifacts(name, installed), self._store.unarchived(name, installed)]
        for folder in folders:
            if folder.is_dir():
                await asyncio.to_thread(compileall.compile_dir, folder, quiet=2)
        for name, installed in components.items():
            place, _ = self._environment(name, installed)
            if self._requirements(name, installed) is None or place.complete(self._python):
                continue
            try:
                await self._install(name, self._store.artifacts(name, installed) / REQUIREMENTS, place)
                place.finish(self._python)
            except (OSError, StateError, CgroupError) as error:
                raise EnvironmentBuildError(f"{name}: no environment for its {REQUIREMENTS}: {error}") from error
            finally:
                if not place.complete(self._python):
                    shutil.rmtree(place.folder, ignore_errors=True)

    def prune(self, components: Components) -> None:
        """Remove the environments that no component of `components` needs."""
        keep = {self._environment(name, installed)[0].folder.name for name, installed in components.items()}
        environment.prune(self._store.environments, keep)

    def _requirements(self, name: str, installed: Installed) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._store.artifacts(name, installed) / REQUIREMENTS).read_bytes()
        return None

    def _environment(self, name: str, installed: Installed) -> tuple[Environment, bool]:
        """The component's environment, and whether the component may change it."""
        requirements = self._requirements(name, installed)
        key = environment.key(name, installed.digest, requirements, self._python)
        return Environment(self._store.environments / key), requirements is None

    async def _install(self, name: str, requirements: Path, place: Environment) -> None:
        """Have pip install requirements, as a user of its own: what comes with a package may run code."""
        place.begin(self._python)
        home = place.folder / "home"
        home.mkdir()
        builder = self._users.of(_BUILDER)
        if builder is not None:
            own(place.venv, builder)
            own(home, builder)
        confinement = self._confinement(
            builder,
            place,
            readable=[requirements.parent],
            writable=[place.venv, home],
            work=home,
            limits=self._limits(UNLIMITED),
        )
        script = f"exec python3 -m pip install --quiet --no-input --disable-pip-version-check -r '{requirements}'"
        log.info("%s: installing its %s", name, REQUIREMENTS)
        try:
            code, output = await self._run(confinement, script)
        except TimeoutError:
            raise EnvironmentBuildError(f"{name}: pip has not installed {REQUIREMENTS} in {BUILD_S:.0f} s") from None
        if code != 0:
            lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
            told = " / ".join(lines[-QUOTED_LINES:])[-QUOTED_BYTES:]
            raise EnvironmentBuildError(f"{name}: pip cannot install {REQUIREMENTS}: {told}")
        shutil.rmtree(home)
        if builder is not None:
            own(place.venv, _ROOT)

    async def _run(self, confinement: Confinement, script: str) -> tuple[int | None, bytes]:
        """Run a script to its end: exit code and output. Raises OSError, CgroupError, TimeoutError."""
        group = self._budget.child(_BUILDER)
        await asyncio.to_thread(group.remove)  # what an agent that was killed has left behind
        group.create()
        try:
            confinement.limits.apply(group)
            process = await asyncio.create_subprocess_exec(
                *confinement.command(script, group.join_files()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(confinement.variables),
                start_new_session=True,
            )
            output, _ = await asyncio.wait_for(process.communicate(), BUILD_S)
        finally:
            await asyncio.to_thread(group.remove)
        return process.returncode, output

    def _confinement(
        self,
        user: User | None,
        place: Environment,
        *,
        readable: Iterable[Path],
        writable: Iterable[Path],
        work: Path,
        limits: Limits,
    ) -> Confinement:
        config = self._config
        seen = View()
        if user is not None:
            hidden = (config.root, config.log_dir)
            seen = view(user, readable=[*self._python.folders, *readable], writable=writable, hidden=hidden)
        own_variables = variables(os.environ, [place.programs], work, user)
        return Confinement(user, seen, work, {**own_variables, "VIRTUAL_ENV": str(place.venv)}, limits)
