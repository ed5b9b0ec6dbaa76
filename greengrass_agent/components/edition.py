"""What of a component a running process cannot change any more. Pure.

A change needs a new launch if the keys of its two editions differ; otherwise it takes effect live.
"""

from __future__ import annotations

import hashlib
import json

from greengrass_agent.components.launch import Edition
from greengrass_agent.deployment.interpolation import Context
from greengrass_agent.deployment.plan import Installed, rendered, steps_of, timeout_of
from hitless.component.service_configuration import ServiceConfiguration

GRACE_S = 5.0
"""Beyond its time limit, how long a replaced function may take to answer what it has and end."""


def edition_of(installed: Installed, context: Context, *, may_reboot: bool = False) -> Edition:
    """What is to run; `may_reboot`: whether the node's owner lets components reboot it.

    Raises ResolveError, ServiceConfigurationError, ConfigurationError.
    """
    configuration = ServiceConfiguration.read(installed.configuration)
    limits = {name: timeout_of(step, context) for name, step in steps_of(installed.recipe).items()}
    key = _key(installed, context)
    if configuration is None:
        return Edition(key, limits, may_reboot=may_reboot)
    return Edition(
        key,
        limits,
        may_reboot=may_reboot,
        serves=True,
        workers=configuration.concurrency,
        leave_s=configuration.timeout_ms / 1000 + GRACE_S,
    )


def _key(installed: Installed, context: Context) -> str:
    # The configuration itself is heard of live: through the gateway, or by the agent's interprocess communication.
    told = {
        "digest": installed.digest,
        "user": installed.user,
        # The folders follow from the digest.
        "scripts": rendered(installed.recipe, context),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
