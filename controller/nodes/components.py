"""Packs components as the Greengrass development kit does.

A component is a folder with `recipe.yaml`, `gdk-config.json` and its files. Artefact URIs stand in the recipe as
`s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/<file>`; publishing fills in the digest and this repository's
address.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from controller.fabric.file import Fabric
from controller.nodes import dependencies
from hitless.component import recipe as recipes
from hitless.component.recipe import Recipe, RecipeError
from hitless.located import Mistake, Source, read

PLACEHOLDER = "s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/"
# A fixed time stamp, so that the same files always make the same archive and digest.
ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)
UNPACKED = frozenset({"recipe.yaml", "gdk-config.json", "greengrass-build", "zip-build", "__pycache__"})
"""What does not belong into an archive of a component's folder."""


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


def base_url(fabric: Fabric) -> str:
    """Where the fabric's nodes find the repository."""
    scheme = "https" if fabric.tls.bus is not None else "http"
    return f"{scheme}://{fabric.repository.host}:{fabric.repository.port}"


def pack(folder: Path, base_url: str) -> Component:
    """Build the component that lies in a folder, to be served below `base_url`.

    Raises RecipeError for mistakes in the recipe, the gdk-config or the files they name.
    """
    path = folder / "recipe.yaml"
    source = _fill_in_names(read(path, RecipeError), folder)
    recipe = recipes.check(source)
    files: dict[str, bytes] = {}
    for i, manifest in enumerate(recipe.manifests):
        for j, artifact in enumerate(manifest.artifacts):
            location = ("Manifests", i, "Artifacts", j, "Uri")
            if not artifact.uri.startswith(PLACEHOLDER):
                if artifact.digest is None or not artifact.uri.startswith(("http://", "https://")):
                    problem = f"expected {PLACEHOLDER}<file>, or an http URI with its Digest, got {artifact.uri!r}"
                    raise RecipeError([source.mistake(location, problem)])
                continue
            name = artifact.uri.removeprefix(PLACEHOLDER)
            files[name] = _file(folder, name, source.mistake(location, ""))
            entry = source.data["Manifests"][i]["Artifacts"][j]
            entry["Uri"] = f"{base_url}/artifacts/{recipe.name}/{recipe.version}/{name}"
            entry["Digest"] = base64.b64encode(hashlib.sha256(files[name]).digest()).decode()
            entry["Algorithm"] = "SHA-256"
    output = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 4096
    yaml.dump(source.data, output)
    document = output.getvalue().encode()
    return Component(recipe, document, files, f"{base_url}/recipes/{recipe.name}-{recipe.version}.yaml")


def pack_all(roots: Iterable[Path], base_url: str) -> Library:
    """Every component below some folders, each of components or itself a component.

    Raises RecipeError, also when one holds none or a version comes twice.
    """
    components: dict[tuple[str, str], Component] = {}
    mistakes: list[Mistake] = []
    folders: list[Path] = []
    for root in roots:
        found = sorted(path.parent for pattern in ("recipe.yaml", "*/recipe.yaml") for path in root.glob(pattern))
        if not found:
            mistakes.append(Mistake(root, 1, "", "expected a recipe.yaml, or folders with one each, found none"))
        folders += found
    for folder in folders:
        try:
            component = pack(folder, base_url)
        except RecipeError as error:
            mistakes.extend(error.mistakes)
            continue
        own = component.recipe.name, component.recipe.version
        if own in components:
            problem = f"expected a name or version of its own, but another folder has {' '.join(own)} too"
            mistakes.append(read(folder / "recipe.yaml", RecipeError).mistake(("ComponentName",), problem))
        components[own] = component
    if mistakes:
        raise RecipeError(mistakes)
    return Library(components.values())


def _fill_in_names(source: Source, folder: Path) -> Source:
    """Replace gdk's `{COMPONENT_NAME}` and `{COMPONENT_VERSION}` by what gdk-config.json says."""
    config_path = folder / "gdk-config.json"
    if not config_path.exists():
        return source
    name, settings = _gdk_component(config_path)
    wanted = {"ComponentName": name, "ComponentVersion": settings.get("version")}
    for field, placeholder in (("ComponentName", "{COMPONENT_NAME}"), ("ComponentVersion", "{COMPONENT_VERSION}")):
        if source.data.get(field) == placeholder:
            source.data[field] = wanted[field]
    if source.data.get("ComponentName") != name:
        problem = f"expected {name}, as gdk-config.json has it, got {source.data.get('ComponentName')!r}"
        raise RecipeError([source.mistake(("ComponentName",), problem)])
    return source


def _gdk_component(path: Path) -> tuple[str, Mapping[str, Any]]:
    source = read(path, RecipeError)
    component = source.data.get("component")
    if not isinstance(component, Mapping) or len(component) != 1:
        raise RecipeError([source.mistake(("component",), "expected one component: {NAME: {author, version, build}}")])
    ((name, settings),) = component.items()
    if not isinstance(settings, Mapping):
        raise RecipeError([source.mistake(("component", name), "expected a mapping {author, version, build}")])
    return str(name), settings


def _file(folder: Path, name: str, where: Mistake) -> bytes:
    """An artefact's content: a file of the folder, or a .zip of the whole folder as gdk's zip build makes it."""
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or len(plain.parts) != 1:
        problem = f"expected a file name in {folder}, got {name!r}"
        raise RecipeError([Mistake(where.path, where.line, where.field, problem)])
    path = folder / name
    if path.is_file():
        return path.read_bytes()
    if plain.suffix == ".zip":
        return _archive(folder)
    problem = f"expected a file of the component, but {path} does not exist"
    raise RecipeError([Mistake(where.path, where.line, where.field, problem)])


def _archive(folder: Path) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and not UNPACKED.intersection(inside.parts):
                entry = zipfile.ZipInfo(inside.as_posix(), ARCHIVE_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (path.stat().st_mode & 0o755) << 16
                archive.writestr(entry, path.read_bytes())
    return output.getvalue()
