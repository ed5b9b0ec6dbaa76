"""Which components a node needs beside those that were asked for, and in which versions. Pure.

As Greengrass resolves them: of each component the newest version that everybody who depends on it can take. A SOFT
dependency that nobody has is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from semantic_version import Version as SemanticVersion  # type: ignore[import-untyped]

from hitless.component.fabric_has import LACKING, PROVIDED
from hitless.component.recipe import Dependency, Recipe


class DependencyError(Exception):
    """Components that cannot be together on a node, or lack one; the message names them."""


Available = Mapping[str, Sequence[Recipe]]
"""Every version of each component, newest first."""


@dataclass(frozen=True, slots=True)
class _Wish:
    by: Recipe | None
    """None: it was asked for."""
    dependency: Dependency | None

    def met_by(self, recipe: Recipe) -> bool:
        return self.dependency is None or self.dependency.met_by(recipe.version)


def newest_first(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Versions of one component in the order in which they are preferred."""
    return sorted(recipes, key=lambda recipe: SemanticVersion(recipe.version), reverse=True)


def resolve(wanted: Iterable[str], available: Available) -> dict[str, Recipe]:
    """The recipes of the wanted components and of all that they need, by name. Raises DependencyError."""
    wishes: dict[str, list[_Wish]] = {name: [_Wish(None, None)] for name in sorted(wanted)}
    found = _choose({}, wishes, available)
    if isinstance(found, DependencyError):
        raise found
    return found


def _choose(
    chosen: Mapping[str, Recipe], wishes: Mapping[str, Sequence[_Wish]], available: Available
) -> dict[str, Recipe] | DependencyError:
    """Choose a version for the first component without one, and all others after it; the reason if none will do."""
    name = next((name for name in wishes if name not in chosen), None)
    if name is None:
        return dict(chosen)
    problem = None
    for recipe in available.get(name, ()):
        if not all(wish.met_by(recipe) for wish in wishes[name]):
            continue
        more = _with_wishes_of(recipe, wishes, available)
        clash = next((one for one in more if one in chosen and not all(w.met_by(chosen[one]) for w in more[one])), None)
        if clash is not None:
            below: dict[str, Recipe] | DependencyError = _none_fits(clash, more[clash], available)
        else:
            below = _choose({**chosen, name: recipe}, more, available)
        if not isinstance(below, DependencyError):
            return below
        # What is wrong with the newest is what people want to know.
        problem = problem or below
    return problem or _none_fits(name, wishes[name], available)


def _with_wishes_of(
    recipe: Recipe, wishes: Mapping[str, Sequence[_Wish]], available: Available
) -> dict[str, Sequence[_Wish]]:
    result = dict(wishes)
    for needed, dependency in sorted(recipe.dependencies.items()):
        if needed in available or (dependency.kind == "HARD" and needed not in PROVIDED):
            result[needed] = [*result.get(needed, ()), _Wish(recipe, dependency)]
    return result


def _none_fits(name: str, wishes: Sequence[_Wish], available: Available) -> DependencyError:
    needs = [
        f"{wish.by.name} {wish.by.version} needs {name} {wish.dependency.version}"
        for wish in wishes
        if wish.by is not None and wish.dependency is not None
    ]
    there = ", ".join(recipe.version for recipe in available.get(name, ())) or "none"
    if name in LACKING:
        there += f" ({LACKING[name]})"
    return DependencyError(f"{' and '.join(needs) or f'{name} is asked for'}, but there is {there}")
