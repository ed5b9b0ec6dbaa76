"""Recipes as other people write them: each is read as Greengrass reads it, or refused with line and reason."""

from pathlib import Path

import pytest

from hitless.component.placeholders import Names, fill, next_patch
from hitless.component.recipe import Recipe, RecipeError, check
from hitless.located import parse

HEAD = "RecipeFormatVersion: 2020-01-25\nComponentName: org.example.Pump\nComponentVersion: 1.0.0\n"


def read(text: str) -> Recipe:
    return Recipe.parse(HEAD + text, "pump.yaml")


def test_keys_and_words_may_be_in_any_case_and_truth_and_numbers_may_be_text() -> None:
    recipe = read(
        "MANIFESTS:\n"
        "  - platform: {OS: linux}\n"
        "    LifeCycle:\n"
        "      SETENV: {PORT: 8080, DEBUG: true, EMPTY: }\n"
        '      Install: {SCRIPT: make, requiresprivilege: "True", TIMEOUT: "30", skipif: onpath make}\n'
        "      run: ''\n"
        "    ARTIFACTS: [{URI: 's3://b/a.zip', unarchive: zip, PERMISSION: {read: all, Execute: owner}}]\n"
        "componentDependencies: {org.example.Base: {versionrequirement: '>= 1.0.0 < v2.0.0', dependencytype: soft}}\n"
    )
    (manifest,) = recipe.manifests
    install = manifest.lifecycle.install
    assert install is not None
    assert (install.script, install.requires_privilege, install.timeout) == ("make", True, 30)
    assert manifest.lifecycle.setenv == {"PORT": "8080", "DEBUG": "true", "EMPTY": ""}
    assert manifest.lifecycle.run is None
    assert manifest.platform == {"os": "linux"}
    (artifact,) = manifest.artifacts
    assert artifact.permission is not None
    assert (artifact.unarchive, artifact.permission.mode) == ("ZIP", 0o744)
    needed = recipe.dependencies["org.example.Base"]
    assert (needed.kind, needed.met_by("1.5.0"), needed.met_by("2.0.0")) == ("SOFT", True, False)


def test_keys_without_a_value_are_as_if_they_were_not_there() -> None:
    (manifest,) = read("Manifests:\n  - Platform:\n    Artifacts:\n    Lifecycle: {run: echo}\nLifecycle:\n").manifests
    assert (manifest.platform, manifest.artifacts) == ({}, ())


def test_a_manifest_without_a_lifecycle_has_the_part_of_the_global_one_that_it_selects() -> None:
    recipe = read(
        "Lifecycle:\n"
        "  setenv: {A: 1}\n"
        "  install: {big: {Script: make big}}\n"
        "  run: {small: run small, big: {Script: run big}, all: run any}\n"
        "Manifests:\n"
        "  - {Platform: {architecture: arm}, Selections: [big]}\n"
        "  - {Platform: {os: darwin}, Selections: [small]}\n"
        "  - {Platform: {os: linux}}\n"
        "  - {Lifecycle: {run: own}}\n"
    )
    found = [
        {name: step.script for name in ("install", "run") if (step := getattr(manifest.lifecycle, name)) is not None}
        for manifest in recipe.manifests
    ]
    assert found == [
        {"install": "make big", "run": "run big"},
        {"run": "run small"},
        {"run": "run any"},
        {"run": "own"},
    ]
    assert [manifest.lifecycle.setenv for manifest in recipe.manifests] == [{"A": "1"}] * 3 + [{}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Manifests: [{Lifecycle: {run: a, Run: b}}]", "pump.yaml:4: Manifests.0.Lifecycle: expected run once"),
        (
            "Lifecycle:\n  run: {Script: a, Skript: a}\nManifests: [{}, {}]",
            "pump.yaml:5: Lifecycle.run.Skript: unknown field",
        ),
        (
            "ComponentType: aws.greengrass.lambda\nManifests: [{}]",
            "pump.yaml:4: ComponentType: expected aws.greengrass.g",
        ),
        (
            "ComponentPublisher: '{{me}}'\nManifests: [{}]",
            "pump.yaml:4: ComponentPublisher: has an unfilled placeholder",
        ),
        ("Manifests:\n  - Name: {{one}}", "pump.yaml:5: Manifests.0.Name: has an unfilled placeholder {{one}}"),
        ("Manifests:\n  - Name: {{one}}-{{two}}", "pump.yaml:5: has an unfilled placeholder {{one}}"),
        (
            "Manifests: [{Lifecycle: {run: {Script: a, Timeout: soon}}}]",
            "Timeout: expected a number of seconds above 0",
        ),
        ("Manifests: [{Platform: {os: '/[/'}}]", "Platform.os: expected a regular expression between the slashes"),
    ],
)
def test_what_greengrass_does_not_take_is_told_by_line_and_name(text: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        read(text)
    assert told in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_placeholders_in_scripts_and_configurations_are_the_components_own() -> None:
    recipe = read(
        "ComponentConfiguration: {DefaultConfiguration: {template: '{{name}}', since: 2024-05-06}}\n"
        "Manifests: [{Lifecycle: {run: \"docker ps --format '{{.Names}}'\"}}]"
    )
    assert recipe.configuration.default == {"template": "{{name}}", "since": "2024-05-06"}


def test_json_may_be_indented_with_tabs() -> None:
    text = '{\n\t"RecipeFormatVersion": "2020-01-25",\n\t"ComponentName": "A",\n\t\t"ComponentVersion": "1.0.0",\n'
    assert Recipe.parse(text + '\t"Manifests": [{"Lifecycle": {"run": "a\\tb"}}]\n}', "a.json").name == "A"


def test_the_development_kits_placeholders_stand_for_what_its_configuration_says() -> None:
    source = parse(
        Path("recipe.yaml"),
        "RecipeFormatVersion: '2020-01-25'\nComponentName: {COMPONENT_NAME}\nComponentVersion: NEXT_PATCH\n"
        "ComponentPublisher: '{COMPONENT_AUTHOR}'\nManifests: [{Lifecycle: {run: 'echo {COMPONENT_VERSION}'}}]\n",
        RecipeError,
    )
    recipe = check(fill(source, Names("org.example.Pump", author="Ada"), {"org.example.Pump": ["1.9.0", "1.10.3"]}))
    assert (recipe.name, recipe.version, recipe.publisher) == ("org.example.Pump", "1.10.4", "Ada")
    assert recipe.manifests[0].lifecycle.run is not None
    assert recipe.manifests[0].lifecycle.run.script == "echo 1.10.4"
    assert next_patch([]) == "1.0.0"
