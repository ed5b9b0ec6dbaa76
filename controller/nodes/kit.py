"""Component trees of the Greengrass development kit: where a component's recipe, names and artefacts lie.

<component>/recipe.{yaml,yml,json}, gdk-config.json, sources    as `gdk component init` makes it
<component>/greengrass-build/artifacts/<name>/<version>/        what `gdk component build` has made
recipes/<name>-<version>.{yaml,json}, artifacts/<name>/<version>/   as `greengrass-cli deployment create` takes it
"""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from hitless.component.placeholders import NEXT_PATCH, Names
from hitless.component.recipe import RecipeError
from hitless.located import Source, read

RECIPES = ("recipe.yaml", "recipe.yml", "recipe.json")
CONFIGURATION = "gdk-config.json"
BUILT = "greengrass-build"
# A fixed time stamp, so that the same files always make the same archive and digest.
ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)
_NEVER_PACKED = frozenset({*RECIPES, CONFIGURATION, BUILT, "zip-build", "__pycache__"})
"""What does not belong into an archive of a component's folder."""
_USUALLY_LEFT_OUT = (".*", "test*", "node_modules")
"""What the kit's zip build leaves out unless its `excludes` says otherwise."""
_NOT_LOOKED_INTO = frozenset({BUILT, "zip-build", "__pycache__", "node_modules"})
_BUILT_BY_US = ("zip",)


@dataclass(frozen=True, slots=True)
class Tree:
    """One component on disk."""

    recipe: Path
    names: Names
    configured: bool
    """Whether gdk-config.json says the names."""
    build_system: str = "zip"
    excludes: tuple[str, ...] | None = None
    """Patterns of what the kit's zip build leaves out."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.recipe.parent

    def artifact(self, name: str, component: str, version: str) -> bytes:
        """The content of the file of this name, for the component as its recipe calls it.

        A .zip that is no file is one of the whole folder, as the kit's zip build makes it. Raises ValueError, which
        says where the file was looked for.
        """
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts:
            raise ValueError(f"expected a file name in {self.folder}, got {name!r}")
        places = [self.folder / BUILT, self.folder, self.folder.parent]
        laid_out = [place / "artifacts" / component / version for place in places]
        if self.build_system in _BUILT_BY_US:
            # What the kit has packed once is older than the files that it was packed from.
            laid_out = laid_out[1:]
        for place in (*laid_out, self.folder):
            for path in (place / inside, place / inside.name):
                if path.is_file():
                    return path.read_bytes()
        if self.build_system not in _BUILT_BY_US:
            raise ValueError(f"expected {laid_out[0] / inside.name}: build it with `gdk component build` first")
        if inside.suffix == ".zip":
            return self._archive()
        if len(found := [path for path in self._files() if path.name == inside.name]) == 1:
            return found[0].read_bytes()
        if found:
            raise ValueError(f"expected one file {inside.name}, found {' and '.join(map(str, found))}")
        raise ValueError(f"expected a file of the component, but {self.folder / inside} does not exist")

    def _files(self) -> list[Path]:
        """The files of the component's own folder, in order."""
        found = []
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not self._left_out(Path(folder, name))]
            found += [path for name in files if not self._left_out(path := Path(folder, name)) and path.is_file()]
        return sorted(found)

    def _left_out(self, path: Path) -> bool:
        if path.name in _NEVER_PACKED or path == self.recipe:
            return True
        if self.excludes is None:
            return any(fnmatch(path.name, pattern) for pattern in _USUALLY_LEFT_OUT)
        inside = path.relative_to(self.folder).as_posix()
        patterns = [pattern.removeprefix("**/") for pattern in self.excludes]
        return any(fnmatch(inside, pattern) or fnmatch(path.name, pattern) for pattern in patterns)

    def _archive(self) -> bytes:
        output = io.BytesIO()
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in self._files():
                entry = zipfile.ZipInfo(path.relative_to(self.folder).as_posix(), ARCHIVE_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (path.stat().st_mode & 0o755) << 16
                archive.writestr(entry, path.read_bytes())
        return output.getvalue()


def recipes_below(root: Path) -> list[Path]:
    """The recipes in a folder of components, in order; `root` itself where it is a recipe.

    A folder with a recipe is one component: nothing below it is looked at.
    """
    return [root] if root.is_file() else list(_below(root))


def _below(folder: Path) -> Iterator[Path]:
    if own := [folder / name for name in RECIPES if (folder / name).is_file()]:
        yield own[0]
        return
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            if entry.name not in _NOT_LOOKED_INTO and not entry.name.startswith("."):
                yield from _below(entry)
        elif folder.name == "recipes" and entry.suffix in (".yaml", ".yml", ".json"):
            yield entry


def tree(recipe: Path) -> Tree:
    """The component whose recipe this is. Raises RecipeError for mistakes in its gdk-config.json."""
    path = recipe.parent / CONFIGURATION
    if not path.exists():
        return Tree(recipe, Names.of(recipe), configured=False)
    source = read(path, RecipeError)
    component = source.data.get("component")
    if not isinstance(component, Mapping) or len(component) != 1:
        raise RecipeError([source.mistake(("component",), "expected one component: {NAME: {author, version, build}}")])
    ((name, settings),) = component.items()
    build = _mapping(source, settings, ("component", str(name))).get("build", {})
    build = _mapping(source, build, ("component", str(name), "build"))
    options = _mapping(source, build.get("options", {}), ("component", str(name), "build", "options"))
    excludes = options.get("excludes")
    return Tree(
        recipe,
        Names(str(name), str(settings.get("version", NEXT_PATCH)), str(settings.get("author", ""))),
        configured=True,
        build_system=str(build.get("build_system", "zip")),
        excludes=tuple(map(str, excludes)) if isinstance(excludes, list) else None,
    )


def _mapping(source: Source, value: Any, location: tuple[str, ...]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise RecipeError([source.mistake(location, "expected a mapping {author, version, build}")])
