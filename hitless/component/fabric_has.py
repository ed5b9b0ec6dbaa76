"""What of Greengrass this fabric has and has not, beside recipes themselves: its public components. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROVIDED: Final = frozenset(
    {
        "aws.greengrass.Nucleus",
        "aws.greengrass.NucleusLite",
        "aws.greengrass.SecretManager",
        "aws.greengrass.ShadowManager",
    }
)
"""Components of AWS that the agent stands in for, in whatever version: nobody has to have them."""
LACKING: Final[Mapping[str, str]] = {
    "aws.greengrass.TokenExchangeService": "no AWS credentials are handed to components here",
    "aws.greengrass.DockerApplicationManager": "nodes have no container runtime here",
    "aws.greengrass.LambdaManager": "Lambda components are packaged as generic ones here",
    "aws.greengrass.StreamManager": "streams to AWS are not served here",
}
"""Why some of AWS's components are not to be had."""
SERVED_OPERATIONS: Final = frozenset(
    {
        "aws.greengrass#DeferComponentUpdate",
        "aws.greengrass#DeleteThingShadow",
        "aws.greengrass#GetComponentDetails",
        "aws.greengrass#GetConfiguration",
        "aws.greengrass#GetSecretValue",
        "aws.greengrass#GetThingShadow",
        "aws.greengrass#ListComponents",
        "aws.greengrass#ListLocalDeployments",
        "aws.greengrass#ListNamedShadowsForThing",
        "aws.greengrass#PauseComponent",
        "aws.greengrass#PublishToIoTCore",
        "aws.greengrass#PublishToTopic",
        "aws.greengrass#PutComponentMetric",
        "aws.greengrass#RestartComponent",
        "aws.greengrass#ResumeComponent",
        "aws.greengrass#SendConfigurationValidityReport",
        "aws.greengrass#StopComponent",
        "aws.greengrass#SubscribeToComponentUpdates",
        "aws.greengrass#SubscribeToConfigurationUpdate",
        "aws.greengrass#SubscribeToIoTCore",
        "aws.greengrass#SubscribeToIoTCoreConnectionStatus",
        "aws.greengrass#SubscribeToTopic",
        "aws.greengrass#SubscribeToValidateConfigurationUpdates",
        "aws.greengrass#UpdateConfiguration",
        "aws.greengrass#UpdateState",
        "aws.greengrass#UpdateThingShadow",
    }
)
"""Operations of Greengrass's interprocess communication, as `accessControl` writes them, that the agent serves."""
SERVED_SERVICES: Final = frozenset(
    {
        "aws.greengrass.SecretManager",
        "aws.greengrass.ShadowManager",
        "aws.greengrass.ipc.componentmetric",
        "aws.greengrass.ipc.lifecycle",
        "aws.greengrass.ipc.mqttproxy",
        "aws.greengrass.ipc.pubsub",
    }
)
"""Sections of `accessControl` whose operations are all served, so that `*` asks for nothing more."""
