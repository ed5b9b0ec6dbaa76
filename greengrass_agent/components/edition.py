"""What of a component a running process cannot change any more. Pure.

A change needs a new launch if the keys of its two editions differ; otherwise it takes effect live.
"""

from __future__ import annotations

import hashlib
import json

from greengrass_agent.components.launch import Edition
from greengrass_agent.deployment.interpolation import Context, interpolate
from greengrass_agent.deployment.plan import Installed, environment_of, steps_of
from hitless.component.service_configuration import ServiceConfiguration

GRACE_S = 5.0
"""Beyond its time limit, how long a replaced function may take to answer what it has and end."""


def edition_of(installed: Installed) -> Edition:
    """What is to run. Raises ResolveError, ServiceConfigurationError, ConfigurationError."""
    configuration = ServiceConfiguration.read(installed.configuration)
    limits = {step: recipe.timeout for step, recipe in steps_of(installed.recipe).items()}
    key = _key(installed, serves=configuration is not None)
    if configuration is None:
        return Edition(key, limits)
    return Edition(
        key,
        limits,
        serves=True,
        workers=configuration.concurrency,
        leave_s=configuration.timeout_ms / 1000 + GRACE_S,
    )


def _key(installed: Installed, *, serves: bool) -> str:
    # A function hears of its configuration through the gateway, a plain component only by its script and environment.
    scripts = {step: _rendered(installed, step) for step in steps_of(installed.recipe)}
    told = {
        "digest": installed.digest,
        "scripts": scripts,
        "configuration": None if serves else installed.configuration,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _rendered(installed: Installed, name: str) -> list[object]:
    # The folders follow from the digest.
    context = Context("", "", "", "", installed.configuration)
    step = steps_of(installed.recipe)[name]
    environment = environment_of(installed.recipe, step)
    return [interpolate(step.script, context), {key: interpolate(value, context) for key, value in environment.items()}]
