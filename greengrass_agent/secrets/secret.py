"""A secret, its versions and their staging labels, as AWS Secrets Manager has them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

CURRENT: Final = "AWSCURRENT"
PREVIOUS: Final = "AWSPREVIOUS"
NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
STAGE: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,256}")
ARN: Final = re.compile(r"arn:[^:\s]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}")
MAX_VALUE_BYTES: Final = 65536

Kind = Literal["string", "binary"]


class SecretError(Exception):
    """What is asked of a secret cannot be had; for people."""


@dataclass(frozen=True, slots=True)
class Version:
    """One value of a secret."""

    id: str
    kind: Kind
    sealed: str
    """The value, encrypted; in base64."""
    created: int
    """Seconds since 1970."""
    stages: tuple[str, ...]
    """Its staging labels, sorted. A label is on one version of a secret."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by its name."""

    arn: str
    versions: tuple[Version, ...] = ()
    """The oldest first. One without a label is forgotten."""

    def put(self, version: Version, stage: str) -> Secret:
        """With one version more, which has the label `stage`; the first has AWSCURRENT beside.

        What was AWSCURRENT becomes AWSPREVIOUS where the new one is AWSCURRENT.
        """
        taken = {stage} | ({CURRENT} if not self.versions else set())
        moves = CURRENT in taken
        kept = []
        for one in self.versions:
            stages = set(one.stages) - taken
            if moves:
                stages.discard(PREVIOUS)
                stages |= {PREVIOUS} if CURRENT in one.stages else set()
            if stages:
                kept.append(replace(one, stages=tuple(sorted(stages))))
        return replace(self, versions=(*kept, replace(version, stages=tuple(sorted(taken)))))

    def find(self, version_id: str | None, stage: str | None) -> Version | None:
        """The version of an id, or with a label; AWSCURRENT where nothing is said. None: there is none."""
        if version_id is not None:
            return next((one for one in self.versions if one.id == version_id), None)
        return next((one for one in self.versions if (stage or CURRENT) in one.stages), None)


def arn_of(name: str) -> str:
    """The ARN of a secret whose owner has not said one: what an AWS account would give it, but for its random end."""
    return f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}"
