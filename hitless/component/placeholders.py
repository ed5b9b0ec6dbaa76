"""The development kit's placeholders in a recipe, filled in as `gdk component build` and `publish` do. Pure.

"Greengrass Development Kit Command-Line Interface configuration file": {COMPONENT_NAME}, {COMPONENT_VERSION} and
{COMPONENT_AUTHOR} stand for what gdk-config.json says; NEXT_PATCH is the patch after the newest version that is there,
or 1.0.0 where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from semantic_version import Version  # type: ignore[import-untyped]

from hitless.located import Source

NEXT_PATCH = "NEXT_PATCH"
FIRST = "1.0.0"
_WHOLE = {"componentname": "name", "componentversion": "version", "componentpublisher": "author"}


@dataclass(frozen=True, slots=True)
class Names:
    """What the placeholders of a component stand for."""

    name: str
    version: str = NEXT_PATCH
    author: str = ""

    @classmethod
    def of(cls, recipe: Path) -> Names:
        """Those of a recipe that no gdk-config.json belongs to: it is named after its file, or after its folder."""
        return cls(recipe.parent.name if recipe.stem.lower() == "recipe" else recipe.stem)


def next_patch(versions: Iterable[str]) -> str:
    """What NEXT_PATCH is where these versions are there."""
    newest = max((Version(version) for version in versions), default=None)
    return FIRST if newest is None else str(newest.next_patch())


def fill(source: Source, names: Names, there: Mapping[str, Iterable[str]] = MappingProxyType({})) -> Source:
    """Replace the placeholders in the document, which is changed; `there` are the versions of other components."""
    written = _written(source.data, names)
    name, author = (written[field] for field in ("name", "author"))
    version = next_patch(there.get(name, ())) if written["version"] == NEXT_PATCH else written["version"]
    values = {"name": name, "version": version, "author": author}
    for key, field in _own(source.data):
        if _stands_for(source.data[key], field):
            source.data[key] = values[field]
    _replace(source.data, {f"{{COMPONENT_{field.upper()}}}": value for field, value in values.items()})
    return source


def takes_next_patch(source: Source, names: Names) -> bool:
    """Whether the component's version depends on which others there are."""
    return _written(source.data, names)["version"] == NEXT_PATCH


def _written(data: Any, names: Names) -> dict[str, str]:
    """Name, version and author: as the document has them, or else `names`."""
    values = {"name": names.name, "version": names.version, "author": names.author}
    for key, field in _own(data):
        if data[key] == NEXT_PATCH or not _stands_for(data[key], field):
            values[field] = str(data[key])
    return values


def _stands_for(value: object, field: str) -> bool:
    """Whether the value of one of the document's own keys is a placeholder."""
    bare = f"COMPONENT_{field.upper()}"
    # Out of quotes, YAML reads {COMPONENT_NAME} as a mapping with one key.
    return value in (bare, f"{{{bare}}}", {bare: None}, NEXT_PATCH)


def _own(data: MutableMapping[Any, Any]) -> list[tuple[Any, str]]:
    """The document's keys that say who the component is, in whatever case, with the placeholder of each."""
    return [(key, _WHOLE[str(key).lower()]) for key in data if str(key).lower() in _WHOLE]


def _replace(node: Any, values: dict[str, str]) -> None:
    items = node.items() if isinstance(node, MutableMapping) else enumerate(node) if isinstance(node, list) else ()
    for key, item in list(items):
        if isinstance(item, str):
            text = item
            for placeholder, value in values.items():
                text = text.replace(placeholder, value)
            if text != item:
                node[key] = text
        else:
            _replace(item, values)
