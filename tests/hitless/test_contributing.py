"""docs/contributing.md names files that are there, and its example of a policy is one."""

import re
from pathlib import Path
from typing import Any

import pytest

from hitless.steering import policies
from hitless.steering.service import ServiceSteering
from hitless.steering.settings import InstanceSettings, Settings
from hitless.steering.units import Unit
from hitless.wire.report import Report
from hitless.words import PolicyKind

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "contributing.md").read_text()
FOLDERS = ("p4src", "hitless", "controller", "greengrass_agent", "experiments", "tests", "docs")


@pytest.mark.parametrize("path", sorted(set(re.findall(rf"(?:{'|'.join(FOLDERS)})/[\w/.]+\w", TEXT))))
def test_the_files_that_it_names_are_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_its_example_is_a_policy_that_chooses_as_it_says() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = vars(policies) | {"Unit": Unit}
    exec(re.sub(r"^   ", "", block, flags=re.MULTILINE), names)
    policy = names["ShortestQueue"](floor=2)
    assert policy.params == (("floor", 2),)
    assert policy.name.upper() not in PolicyKind.__members__, "the example exists now: think of another"
    steering = ServiceSteering(Settings(policy, {member: InstanceSettings(1) for member in range(3)}))
    for member, queue in enumerate((9, 3, 5)):
        told = Report(service_id=1, node_id=member, epoch=1, sequence=1, ready=True, queue_depth=queue)
        steering.report(1, member, told)
    assert steering.request(2).member == 1
