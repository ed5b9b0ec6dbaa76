"""Packs components as the Greengrass development kit does.

An artefact's URI stands in the recipe as `s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/<file>`, and any other
`s3://` address means the file of that name, too; publishing fills in the digest and this repository's address.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from controller.fabric.file import Fabric
from controller.nodes import dependencies, kit
from controller.nodes.needs import needs
from hitless.component import placeholders
from hitless.component import recipe as recipes
from hitless.component.recipe import Recipe, RecipeError
from hitless.component.spelling import any_case
from hitless.located import Location, Mistake, Source, read

PLACEHOLDER = "s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/"
ELSEWHERE = {
    "docker": "a container image: the nodes of this fabric run none; package what is in it as files",
    "lambda": "a Lambda function at AWS: package its handler as files",
    "greengrass": "a file of AWS's own: package what the component needs as files",
}
"""What addresses of other kinds mean, for people."""


@dataclass(frozen=True, slots=True)
class Component:
    """A component ready to be served: one immutable (name, version)."""

    recipe: Recipe
    document: bytes
    """The published recipe: digests and URIs filled in."""
    files: Mapping[str, bytes]
    """The artefacts by file name."""
    uri: str
    """Where the published recipe is served."""
    source: Path
    """The recipe that it was made from."""

    @property
    def sha256(self) -> str:
        """Digest of the published recipe, hexadecimal; through the digests in it, of every artefact too."""
        return hashlib.sha256(self.document).hexdigest()


class Library(Mapping[str, Component]):
    """Components by name: of each the newest version, and all others for those who need an older one."""

    def __init__(self, components: Iterable[Component]) -> None:
        self._versions = {(one.recipe.name, one.recipe.version): one for one in components}
        recipes: dict[str, list[Recipe]] = {}
        for one in self._versions.values():
            recipes.setdefault(one.recipe.name, []).append(one.recipe)
        self._recipes = {name: dependencies.newest_first(found) for name, found in recipes.items()}

    def __getitem__(self, name: str) -> Component:
        return self._versions[name, self._recipes[name][0].version]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def all(self) -> list[Component]:
        """Every version of every component."""
        return list(self._versions.values())

    def resolve(self, wanted: Iterable[str]) -> dict[str, Component]:
        """The wanted components and all that they need, by name. Raises DependencyError."""
        chosen = dependencies.resolve(wanted, self._recipes)
        return {name: self._versions[name, recipe.version] for name, recipe in sorted(chosen.items())}


def lacking(library: Library) -> list[str]:
    """What the components need that the fabric does not have, each with file and line; for people."""
    found = []
    for component in library.all():
        source = read(component.source, RecipeError)
        for need in needs(component.recipe, library):
            line = source.line(recipes.written(source, need.location))
            found.append(f"{component.source}:{line}: {component.recipe.name} needs {need.text}")
    return found


def base_url(fabric: Fabric) -> str:
    """Where the fabric's nodes find the repository."""
    scheme = "https" if fabric.tls.bus is not None else "http"
    return f"{scheme}://{fabric.repository.host}:{fabric.repository.port}"


def pack(place: Path, base_url: str, there: Mapping[str, Iterable[str]] = MappingProxyType({})) -> Component:
    """Build the component that lies in a folder, or whose recipe this is, to be served below `base_url`.

    `there` are the versions of other components, by name, for NEXT_PATCH. Raises RecipeError for mistakes in the
    recipe, the gdk-config or the files they name.
    """
    path = next(iter(kit.recipes_below(place)), place / kit.RECIPES[0])
    tree = kit.tree(path)
    source = read(path, RecipeError)
    published = any(str(key).lower() == "componentname" for key in source.data)
    source = placeholders.fill(source, tree.names, there)
    name = any_case(source.data, "ComponentName")
    if published and tree.configured and name != tree.names.name:
        problem = f"expected {tree.names.name}, as gdk-config.json has it, got {name!r}"
        raise RecipeError([source.mistake(("ComponentName",), problem)])
    recipe = recipes.check(source)
    files: dict[str, bytes] = {}
    mistakes: list[Mistake] = []
    for i, manifest in enumerate(recipe.manifests):
        for j, artifact in enumerate(manifest.artifacts):
            location: Location = ("Manifests", i, "Artifacts", j, "Uri")
            try:
                file = _file_name(artifact.uri, has_digest=artifact.digest is not None)
                if file is None:
                    continue
                content = tree.artifact(file, recipe.name, recipe.version)
            except ValueError as error:
                mistakes.append(source.mistake(location, str(error)))
                continue
            file = file.rpartition("/")[2]
            if files.setdefault(file, content) != content:
                problem = f"expected file names of their own, but another artefact is called {file} too"
                mistakes.append(source.mistake(location, problem))
            _publish(source, i, j, f"{base_url}/artifacts/{recipe.name}/{recipe.version}/{file}", content)
    if mistakes:
        raise RecipeError(mistakes)
    output = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 4096
    yaml.dump(source.data, output)
    document = output.getvalue().encode()
    return Component(recipe, document, files, f"{base_url}/recipes/{recipe.name}-{recipe.version}.yaml", path)


def pack_all(roots: Iterable[Path], base_url: str) -> Library:
    """Every component below some folders, at any depth, or whose recipe is named.

    Raises RecipeError, also when one holds none or a version comes twice.
    """
    components: dict[tuple[str, str], Component] = {}
    mistakes: list[Mistake] = []
    found: dict[Path, None] = {}
    for root in roots:
        below = kit.recipes_below(root)
        if not below:
            problem = "expected a recipe.yaml or recipe.json, or folders with one each, found none"
            mistakes.append(Mistake(root, 1, "", problem))
        found |= dict.fromkeys(below)
    # Those whose version depends on the others' come last.
    for path in sorted(found, key=_waits):
        try:
            there: dict[str, list[str]] = {}
            for name, version in components:
                there.setdefault(name, []).append(version)
            component = pack(path, base_url, there)
        except RecipeError as error:
            mistakes.extend(error.mistakes)
            continue
        own = component.recipe.name, component.recipe.version
        if own in components:
            problem = f"expected a name or version of its own, but another folder has {' '.join(own)} too"
            mistakes.append(read(path, RecipeError).mistake(("ComponentName",), problem))
        components[own] = component
    if mistakes:
        raise RecipeError(mistakes)
    return Library(components.values())


def _waits(path: Path) -> bool:
    try:
        return placeholders.takes_next_patch(read(path, RecipeError), kit.tree(path).names)
    except RecipeError:
        return False  # which packing tells


def _file_name(uri: str, *, has_digest: bool) -> str | None:
    """The file of the component that an artefact is; None if nodes fetch it from where it is. Raises ValueError."""
    scheme = urlsplit(uri).scheme
    if uri.startswith(PLACEHOLDER):
        return uri.removeprefix(PLACEHOLDER)
    if scheme == "s3":
        return uri.rpartition("/")[2]
    if scheme in ("http", "https") and has_digest:
        return None
    if scheme in ELSEWHERE:
        raise ValueError(f"{uri} is {ELSEWHERE[scheme]}")
    raise ValueError(f"expected {PLACEHOLDER}<file>, or an http URI with its Digest, got {uri!r}")


def _publish(source: Source, manifest: int, artifact: int, uri: str, content: bytes) -> None:
    """Have an artefact of the document say where it is served and what it must be."""
    entry: MutableMapping[Any, Any] = any_case(any_case(source.data, "Manifests")[manifest], "Artifacts")[artifact]
    own = {
        "Uri": uri,
        "Digest": base64.b64encode(hashlib.sha256(content).digest()).decode(),
        "Algorithm": "SHA-256",
    }
    for field, value in own.items():
        key = next((key for key in entry if str(key).lower() == field.lower()), field)
        entry[key] = value
