"""`python -m greengrass_agent --node NODE --config FILE`: runs a node's agent until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import click
import uvloop

from greengrass_agent.agent import Afterwards, Agent
from greengrass_agent.config import AgentConfig, ConfigError, load
from greengrass_agent.host import priority
from greengrass_agent.host.cgroup import CgroupError
from greengrass_agent.host.network import NetworkError
from greengrass_agent.logs.diagnostics import log_to_stderr
from hitless.files import StateError

REBOOT = ("systemctl", "reboot")


@click.command()
@click.option("--node", required=True, metavar="NAME", help="The node's name; must be the configuration's `thing`.")
@click.option("--config", required=True, metavar="FILE", type=click.Path(path_type=Path), help="YAML or JSON.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
def main(node: str, config: Path, log_level: str) -> None:
    """Carry out deployments and run functions on this node."""
    log_to_stderr(log_level.upper(), "%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load(config)
        if settings.thing != node:
            raise click.ClickException(f"{config}: thing is {settings.thing}, expected {node}")
        if config.stat().st_mode & 0o077 and settings.broker.password is not None:
            logging.warning("%s: has the broker's password, and others than its owner may read it", config)
        priority.outlive_components()
        afterwards = uvloop.run(_run(settings))
        if afterwards is Afterwards.REBOOT:
            os.execvp(REBOOT[0], REBOOT)
        if afterwards is Afterwards.AGAIN:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except (ConfigError, StateError, CgroupError, NetworkError, OSError) as error:
        raise click.ClickException(str(error)) from None


async def _run(settings: AgentConfig) -> Afterwards:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await Agent(settings).run(stop)
