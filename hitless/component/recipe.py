"""Reads and checks Greengrass v2 component recipes, naming file, line, field and what was expected there.

The recipe format: "AWS IoT Greengrass component recipe reference", RecipeFormatVersion 2020-01-25.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from semantic_version import NpmSpec  # type: ignore[import-untyped]
from semantic_version import Version as SemanticVersion

from hitless.component.placeholders import Names, fill
from hitless.component.spelling import FILLED, Filled, FilledText, Part, Truth, Word, any_case, one_of, selected
from hitless.located import LocatedError, Location, Source, parse, validate

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
# semver.org's own expression, without the build part's groups.
VERSION = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z.-]+)?$"
)
LIFECYCLE_STEPS = ("bootstrap", "install", "startup", "run", "shutdown", "recover", "uninstall")
ALL = "all"
"""The selection of manifests that name none."""


class RecipeError(LocatedError):
    """A recipe that cannot be used; its text has a line for each mistake."""


def _version(value: object) -> object:
    if not isinstance(value, str) or not re.match(VERSION, value):
        raise ValueError("expected a semantic version such as 1.0.0")
    return value


def _requirement(value: object) -> object:
    if not isinstance(value, str):
        return value
    # Greengrass takes blanks behind an operator, and a v before a version, as npm does.
    plain = re.sub(r"([<>=~^])\s+", r"\1", value.strip())
    plain = re.sub(r"(^|[\s<>=~^])v(?=\d)", r"\1", plain) or "*"
    try:
        NpmSpec(plain)
    except ValueError as error:
        raise ValueError("expected a version requirement such as ^1.2.0 or '>=1.0.0 <2.0.0'") from error
    return plain


def _name(value: object) -> object:
    if isinstance(value, str) and not re.match(NAME, value):
        raise ValueError("expected a component name such as org.example.Detect (letters, digits, . _ -)")
    return value


def _kind(value: object) -> object:
    if isinstance(value, str) and value.lower().startswith("aws.greengrass.") and value.lower() != GENERIC:
        raise ValueError(f"expected {GENERIC}: Lambda components, plugins and the nucleus belong to AWS's own runtime")
    return value.lower() if isinstance(value, str) else value


def _platform(value: object) -> object:
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == "/":
        try:
            re.compile(value[1:-1])
        except re.error as error:
            raise ValueError(f"expected a regular expression between the slashes: {error}") from None
    return value


def _timeout(value: object) -> object:
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, str) and "configuration:" in number:
        return number
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise ValueError("expected a number of seconds above 0, or {configuration:/pointer}")
    return number


GENERIC = "aws.greengrass.generic"
Name = Annotated[str, BeforeValidator(_name), FILLED]
Version = Annotated[str, BeforeValidator(_version), FILLED]
Requirement = Annotated[Word, BeforeValidator(_requirement), FILLED]
Permitted = Annotated[Literal["NONE", "OWNER", "ALL"], one_of("NONE", "OWNER", "ALL")]
Text = Annotated[Word, StringConstraints(min_length=1)]


class Step(Part):
    """One lifecycle step."""

    script: Text = Field(alias="Script")
    requires_privilege: Truth = Field(False, alias="RequiresPrivilege")
    skip_if: Annotated[str, StringConstraints(pattern=r"^(?i:onpath|exists)\s+\S")] | None = Field(None, alias="SkipIf")
    timeout: Annotated[int | str, BeforeValidator(_timeout)] | None = Field(None, alias="Timeout")
    """Seconds, or a text whose variables stand for them."""
    setenv: dict[str, Word] = Field(default_factory=dict, alias="Setenv")


class Bootstrap(Step):
    """The step that may ask for a restart of the agent or a reboot."""

    on_rollback: Truth = Field(False, alias="BootstrapOnRollback")
    """Whether it is done again where a rollback brings back a version that has done it."""


def _step(value: object) -> object:
    if isinstance(value, str):
        # A script without text does nothing, which is what a step that is not there does.
        return {"Script": value} if value.strip() else None
    return value


AnyStep = Annotated[Step | None, BeforeValidator(_step)]


class Lifecycle(Part):
    """What is run when."""

    setenv: dict[str, Word] = Field(default_factory=dict)
    bootstrap: Annotated[Bootstrap | None, BeforeValidator(_step)] = None
    install: AnyStep = None
    startup: AnyStep = None
    run: AnyStep = None
    shutdown: AnyStep = None
    recover: AnyStep = None
    uninstall: AnyStep = None

    @model_validator(mode="after")
    def _startup_or_run(self) -> Lifecycle:
        if self.startup and self.run:
            raise ValueError("expected startup or run, not both")
        return self


class Permission(Part):
    """Who may do what with an artefact's files: nobody, the component's user, or every user of the node."""

    read: Permitted = Field("OWNER", alias="Read")
    execute: Permitted = Field("NONE", alias="Execute")

    @property
    def mode(self) -> int:
        """The files' mode; their owner, who is the component's user, may always write."""
        read, execute = ({"NONE": 0, "OWNER": 0o100, "ALL": 0o111}[one] for one in (self.read, self.execute))
        return 0o200 | read << 2 | execute


class Artifact(Part):
    """A file that the component needs on the node."""

    uri: FilledText = Field(alias="Uri")
    digest: str | None = Field(None, alias="Digest")
    algorithm: Annotated[Literal["SHA-256"], one_of("SHA-256")] | None = Field(None, alias="Algorithm")
    unarchive: Annotated[Literal["NONE", "ZIP"], one_of("NONE", "ZIP")] = Field("NONE", alias="Unarchive")
    permission: Permission | None = Field(None, alias="Permission")


class Manifest(Part):
    """How the component runs on one kind of platform; the first that matches wins."""

    name: Filled | None = Field(None, alias="Name")
    platform: dict[str, Annotated[Word, BeforeValidator(_platform)]] = Field(default_factory=dict, alias="Platform")
    """What the node must be, by keys in lower case."""
    lifecycle: Lifecycle = Field(default_factory=Lifecycle, alias="Lifecycle")
    """The manifest's own; where it has none, what its selections choose of the recipe's."""
    selections: tuple[Word, ...] = Field((), alias="Selections", strict=False)
    artifacts: tuple[Artifact, ...] = Field((), alias="Artifacts", strict=False)

    @classmethod
    def _prepared(cls, value: dict[Any, Any]) -> dict[Any, Any]:
        platform = value.get("Platform")
        if isinstance(platform, Mapping):
            wanted = {str(key).lower(): item for key, item in platform.items() if item is not None}
            return {**value, "Platform": wanted}
        return value


class Dependency(Part):
    """Another component that this one needs."""

    version: Requirement = Field("*", alias="VersionRequirement")
    """An npm-style range, as Greengrass has it."""
    kind: Annotated[Literal["HARD", "SOFT"], one_of("HARD", "SOFT")] = Field("HARD", alias="DependencyType")

    def met_by(self, version: str) -> bool:
        """Whether a component of this version satisfies the requirement."""
        return bool(NpmSpec(self.version).match(SemanticVersion(version)))


class Configuration(Part):
    """The component's configuration before any deployment changes it."""

    default: dict[str, Any] = Field(default_factory=dict, alias="DefaultConfiguration")


class Recipe(Part):
    """A component recipe."""

    format: Literal["2020-01-25"] = Field(alias="RecipeFormatVersion")
    name: Name = Field(alias="ComponentName")
    version: Version = Field(alias="ComponentVersion")
    kind: Annotated[Literal["aws.greengrass.generic"], BeforeValidator(_kind)] = Field(
        "aws.greengrass.generic", alias="ComponentType"
    )
    description: Filled = Field("", alias="ComponentDescription")
    publisher: Filled = Field("", alias="ComponentPublisher")
    configuration: Configuration = Field(default_factory=Configuration, alias="ComponentConfiguration")
    dependencies: dict[Name, Dependency] = Field(default_factory=dict, alias="ComponentDependencies")
    common: dict[str, Any] = Field(default_factory=dict, alias="Lifecycle")
    """The global lifecycle as it is written; manifests without one of their own have their part of it."""
    manifests: tuple[Manifest, ...] = Field((), alias="Manifests", strict=False)

    @classmethod
    def parse(cls, text: str, name: str) -> Recipe:
        """The recipe in a YAML or JSON text that stands at `name`. Raises RecipeError with every mistake in it."""
        return check(fill(parse(Path(name), text, RecipeError), Names.of(Path(name))))

    @classmethod
    def _prepared(cls, value: dict[Any, Any]) -> dict[Any, Any]:
        common, manifests = value.get("Lifecycle"), value.get("Manifests")
        if not isinstance(common, Mapping) or not isinstance(manifests, list):
            return value
        known = {ALL, *(word for manifest in manifests for word in _selections(manifest))}
        completed = []
        for manifest in manifests:
            if isinstance(manifest, Mapping) and not any_case(manifest, "Lifecycle"):
                rest = {key: item for key, item in manifest.items() if str(key).lower() != "lifecycle"}
                part = selected(common, _selections(manifest) or [ALL], known)
                completed.append({**rest, "Lifecycle": part})
            else:
                completed.append(manifest)
        return {**value, "Manifests": completed}


def _selections(manifest: Any) -> list[str]:
    found = any_case(manifest, "Selections") if isinstance(manifest, Mapping) else None
    return [str(word) for word in found] if isinstance(found, list) else []


def written(source: Source, location: Location) -> Location:
    """Where a field of a recipe stands in its document: a manifest may have its lifecycle from the recipe."""
    match location:
        case ("Manifests", int(index), "Lifecycle", *rest):
            manifests = any_case(source.data, "Manifests")
            if not any_case(manifests[index], "Lifecycle"):
                return ("Lifecycle", *rest)
    return location


def check(source: Source) -> Recipe:
    """The recipe that a parsed document holds. Raises RecipeError with every mistake in it."""
    recipe = validate(source, Recipe, RecipeError, lambda location: written(source, location))
    if not recipe.manifests:
        raise RecipeError([source.mistake(("Manifests",), "expected at least one manifest")])
    return recipe
