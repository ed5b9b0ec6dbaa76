"""Reads and checks Greengrass v2 component recipes, naming file, line, field and what was expected there.

The recipe format: "AWS IoT Greengrass component recipe reference", RecipeFormatVersion 2020-01-25.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from semantic_version import NpmSpec  # type: ignore[import-untyped]
from semantic_version import Version as SemanticVersion

from hitless.located import LocatedError, Source, parse, read, validate

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
# semver.org's own expression, without the build part's groups.
VERSION = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z.-]+)?$"
)
LIFECYCLE_STEPS = ("bootstrap", "install", "startup", "run", "shutdown", "recover")


class RecipeError(LocatedError):
    """A recipe that cannot be used; its text has a line for each mistake."""


def _version(value: object) -> object:
    if not isinstance(value, str) or not re.match(VERSION, value):
        raise ValueError("expected a semantic version such as 1.0.0")
    return value


def _requirement(value: object) -> object:
    if isinstance(value, str):
        try:
            NpmSpec(value)
        except ValueError as error:
            raise ValueError("expected a version requirement such as ^1.2.0 or '>=1.0.0 <2.0.0'") from error
    return value


def _name(value: object) -> object:
    if isinstance(value, str) and not re.match(NAME, value):
        raise ValueError("expected a component name such as org.example.Detect (letters, digits, . _ -)")
    return value


Name = Annotated[str, BeforeValidator(_name)]
Version = Annotated[str, BeforeValidator(_version)]
Requirement = Annotated[str, BeforeValidator(_requirement)]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)


class Step(_Part):
    """One lifecycle step."""

    script: Text = Field(alias="Script")
    requires_privilege: bool = Field(False, alias="RequiresPrivilege")
    skip_if: Annotated[str, StringConstraints(pattern=r"^(onpath|exists) \S")] | None = Field(None, alias="SkipIf")
    timeout: Annotated[int, Field(gt=0)] | None = Field(None, alias="Timeout")
    setenv: dict[str, str] = Field(default_factory=dict, alias="Setenv")


def _step(value: object) -> object:
    return {"Script": value} if isinstance(value, str) else value


AnyStep = Annotated[Step, BeforeValidator(_step)]


class Lifecycle(_Part):
    """What is run when. Step names in any case, as the classic nucleus has it."""

    setenv: dict[str, str] = Field(default_factory=dict)
    bootstrap: AnyStep | None = None
    install: AnyStep | None = None
    startup: AnyStep | None = None
    run: AnyStep | None = None
    shutdown: AnyStep | None = None
    recover: AnyStep | None = None

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        known = {"setenv", *LIFECYCLE_STEPS}
        return {key.lower() if str(key).lower() in known else key: step for key, step in value.items()}

    @model_validator(mode="after")
    def _startup_or_run(self) -> Lifecycle:
        if self.startup and self.run:
            raise ValueError("expected startup or run, not both")
        return self


class Artifact(_Part):
    """A file that the component needs on the node."""

    uri: Text = Field(alias="Uri")
    digest: str | None = Field(None, alias="Digest")
    algorithm: Literal["SHA-256"] | None = Field(None, alias="Algorithm")
    unarchive: Literal["NONE", "ZIP"] = Field("NONE", alias="Unarchive")
    permission: dict[Literal["Read", "Execute"], Literal["NONE", "OWNER", "ALL"]] | None = Field(
        None, alias="Permission"
    )


class Manifest(_Part):
    """How the component runs on one kind of platform; the first that matches wins."""

    name: str | None = Field(None, alias="Name")
    platform: dict[str, str] = Field(default_factory=dict, alias="Platform")
    lifecycle: Lifecycle = Field(default_factory=Lifecycle, alias="Lifecycle")
    selections: tuple[str, ...] = Field((), alias="Selections", strict=False)
    artifacts: tuple[Artifact, ...] = Field((), alias="Artifacts", strict=False)


class Dependency(_Part):
    """Another component that this one needs."""

    version: Requirement = Field(alias="VersionRequirement")
    """An npm-style range, as Greengrass has it."""
    kind: Literal["HARD", "SOFT"] = Field("HARD", alias="DependencyType")

    def met_by(self, version: str) -> bool:
        """Whether a component of this version satisfies the requirement."""
        return bool(NpmSpec(self.version).match(SemanticVersion(version)))


class Configuration(_Part):
    """The component's configuration before any deployment changes it."""

    default: dict[str, Any] = Field(default_factory=dict, alias="DefaultConfiguration")


class Recipe(_Part):
    """A component recipe."""

    format: Literal["2020-01-25"] = Field(alias="RecipeFormatVersion")
    name: Name = Field(alias="ComponentName")
    version: Version = Field(alias="ComponentVersion")
    kind: Literal["aws.greengrass.generic"] = Field("aws.greengrass.generic", alias="ComponentType")
    description: str = Field("", alias="ComponentDescription")
    publisher: str = Field("", alias="ComponentPublisher")
    configuration: Configuration = Field(default_factory=Configuration, alias="ComponentConfiguration")
    dependencies: dict[Name, Dependency] = Field(default_factory=dict, alias="ComponentDependencies")
    lifecycle: Lifecycle = Field(default_factory=Lifecycle, alias="Lifecycle")
    manifests: tuple[Manifest, ...] = Field((), alias="Manifests", strict=False)

    @classmethod
    def parse(cls, text: str, name: str) -> Recipe:
        """The recipe in a YAML or JSON text that stands at `name`. Raises RecipeError with every mistake in it."""
        return check(parse(Path(name), text, RecipeError))


def check(source: Source) -> Recipe:
    """The recipe that a parsed document holds. Raises RecipeError with every mistake in it."""
    recipe = validate(source, Recipe, RecipeError)
    if not recipe.manifests:
        raise RecipeError([source.mistake(("Manifests",), "expected at least one manifest")])
    return recipe


def load(path: Path) -> Recipe:
    """Read a recipe file (YAML, or JSON, which is YAML too). Raises RecipeError."""
    return check(read(path, RecipeError))
