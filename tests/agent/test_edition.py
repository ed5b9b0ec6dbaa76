"""Which changes of a component need a new launch, and which a running one takes."""

import json
from typing import Any

import pytest

from greengrass_agent.components.edition import edition_of
from greengrass_agent.deployment.interpolation import Component, Context
from greengrass_agent.deployment.plan import Installed
from hitless.component.recipe import Recipe

ENDPOINTS = {"echo": {"address": "127.0.0.1", "port": 9000, "service_id": 7, "protocol": "udp"}}


def installed(digest: str = "a", script: str = "exec run {configuration:/model}", **configuration: Any) -> Installed:
    text = json.dumps(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": "org.example.Echo",
            "ComponentVersion": "1.0.0",
            "Manifests": [
                {
                    "Platform": {"os": "linux"},
                    "Lifecycle": {
                        "install": {"Script": "true", "Setenv": {"MIRROR": "{configuration:/mirror}"}},
                        "run": {"Script": script},
                    },
                }
            ],
        }
    )
    defaults = {"model": "small", "mirror": "here"}
    return Installed(Recipe.parse(text, "recipe.yaml"), digest, {**defaults, **configuration})


def context(own: Installed) -> Context:
    return Context(Component(own.configuration))


def key(own: Installed) -> str:
    return edition_of(own, context(own)).key


def function(**configuration: Any) -> Installed:
    return installed(**{"service": "echo", "endpoints": ENDPOINTS, **configuration})


@pytest.mark.parametrize(
    "change",
    [
        {"concurrency": 3},
        {"timeout_ms": 100, "queue_limit": 9, "idempotent": True, "streamed": True},
        {"greeting": "bonjour"},
        {"endpoints": {**ENDPOINTS, "detect": {**ENDPOINTS["echo"], "service_id": 8}}},
    ],
)
def test_a_function_takes_its_configuration_live(change: dict[str, Any]) -> None:
    assert key(function(**change)) == key(function())


@pytest.mark.parametrize("change", [{"model": "large"}, {"mirror": "there"}, {"digest": "b"}])
def test_what_stands_in_a_script_or_its_environment_takes_a_new_launch(change: dict[str, Any]) -> None:
    assert key(function(**change)) != key(function())


def test_a_plain_component_is_launched_anew_for_what_its_scripts_say_and_hears_of_the_rest_live() -> None:
    assert key(installed()) == key(installed(greeting="bonjour")), "as on Greengrass: SubscribeToConfigurationUpdate"
    assert key(installed(model="large")) != key(installed())


def test_a_function_is_up_with_its_workers_and_leaves_within_its_time_limit_and_a_grace() -> None:
    own = function(concurrency=3, timeout_ms=2000)
    edition = edition_of(own, context(own))
    assert (edition.serves, edition.workers, edition.leave_s) == (True, 3, 7.0)
    assert not edition_of(installed(), context(installed())).serves
