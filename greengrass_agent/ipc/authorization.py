"""What `accessControl` in a component's configuration lets it do. Pure.

AWS IoT Greengrass, "Authorize components to perform IPC operations", and where that is silent, the nucleus
(`com.aws.greengrass.authorization`): the keys `accessControl`, `operations` and `resources` may be in any case;
services, operations and resources are told apart by case. `*` stands for any characters, `/` among them. Where
resources are topics, `+` and `#` are MQTT's wildcards too, where MQTT allows them. `${*}`, `${+}` and the like are the
characters themselves, and `{iot:thingName}` is the node's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from hitless.component.spelling import any_case

TOPICS: Final = frozenset({"aws.greengrass.ipc.pubsub", "aws.greengrass.ipc.mqttproxy"})
"""The services whose resources are topics."""

_PARTS = re.compile(r"\$\{(?P<escaped>.)\}|(?P<wildcard>[*+#])", re.DOTALL)


def allowed(configuration: Mapping[str, Any], thing: str, service: str, operation: str, resource: str) -> bool:
    """Whether a component with this configuration may do that. `thing` is the node's name.

    A policy that is not as Greengrass wants it allows nothing.
    """
    for operations, resources in _policies(configuration, service):
        if operation not in operations and "*" not in operations:
            continue
        for pattern in resources:
            filled = pattern.replace("{iot:thingName}", thing)
            if _compiled(filled, service in TOPICS).fullmatch(resource) is not None:
                return True
    return False


def _policies(configuration: Mapping[str, Any], service: str) -> Iterator[tuple[list[str], list[str]]]:
    control = any_case(configuration, "accessControl")
    if isinstance(control, str):  # the console lets people paste it as text
        try:
            control = json.loads(control)
        except ValueError:
            return
    policies = control.get(service) if isinstance(control, Mapping) else None
    for policy in policies.values() if isinstance(policies, Mapping) else ():
        if isinstance(policy, Mapping):
            yield _texts(any_case(policy, "operations")), _texts(any_case(policy, "resources"))


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


@lru_cache(maxsize=1024)
def _compiled(pattern: str, topics: bool) -> re.Pattern[str]:
    """What of resources a pattern matches, as a regular expression for a whole resource."""
    made, place = [], 0
    for part in _PARTS.finditer(pattern):
        made.append(re.escape(pattern[place : part.start()]))
        place = part.end()
        made.append(_piece(pattern, part, topics))
        if part["wildcard"] == "#" and made[-1] == ".*" and pattern[part.start() - 1 : part.start()] == "/":
            # `a/#` is `a` too.
            made[-2:] = [made[-2].removesuffix("/"), "(?:/.*)?"]
    made.append(re.escape(pattern[place:]))
    return re.compile("".join(made), re.DOTALL)


def _piece(pattern: str, part: re.Match[str], topics: bool) -> str:
    character = part["escaped"] or part["wildcard"]
    if part["wildcard"] == "*":
        return ".*"
    begins = part.start() == 0 or pattern[part.start() - 1] == "/"
    ends = part.end() == len(pattern) or pattern[part.end()] == "/"
    if topics and part["wildcard"] == "+" and begins and ends:
        return "[^/]*"
    if topics and part["wildcard"] == "#" and begins and part.end() == len(pattern):
        return ".*"
    return re.escape(character)
