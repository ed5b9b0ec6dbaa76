"""How people write recipes, brought to one form: keys and words in any case, texts for numbers, empty keys. Pure.

Greengrass reads recipes with Jackson, which takes keys and enumerations in any case, numbers and truth values written
as text, and a key without a value as one that is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, model_validator

from hitless.located import UNFILLED


class Part(BaseModel):
    """A mapping of a recipe: keys in any case, no unknown ones, those without a value left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        known = {(field.alias or name).lower(): field.alias or name for name, field in cls.model_fields.items()}
        found: dict[Any, Any] = {}
        for key, item in value.items():
            name = known.get(str(key).lower(), key)
            if name in found:
                raise ValueError(f"expected {name} once, but it is there in another case too")
            if item is not None or name not in known.values():
                found[name] = item
        return cls._prepared(found)

    @classmethod
    def _prepared(cls, value: dict[Any, Any]) -> dict[Any, Any]:
        """What else is done to the mapping before it is checked."""
        return value


def any_case(mapping: Mapping[Any, Any], key: str) -> Any:
    """The value of a key that may be written in any case; None if it has none."""
    return next((value for own, value in mapping.items() if str(own).lower() == key.lower()), None)


def one_of(*words: str) -> BeforeValidator:
    """Takes the words in any case."""

    def spelled(value: object) -> object:
        return next((word for word in words if isinstance(value, str) and word.lower() == value.lower()), value)

    return BeforeValidator(spelled)


def _text(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _truth(value: object) -> object:
    spelled = value.lower() if isinstance(value, str) else value
    if spelled not in (True, False, "true", "false"):
        raise ValueError("expected true or false")
    return spelled in (True, "true")


def _filled(value: object) -> object:
    if isinstance(value, str) and (found := UNFILLED.search(value)):
        raise ValueError(f"has an unfilled placeholder {found[0]}: write the value in its place")
    return value


Word = Annotated[str, BeforeValidator(_text)]
"""Text, also where YAML reads a number or a truth value."""
FILLED = BeforeValidator(_filled)
"""Refuses text with a placeholder that has been forgotten; not for scripts and configurations, which may have some."""
Filled = Annotated[str, FILLED, BeforeValidator(_text)]
FilledText = Annotated[Filled, StringConstraints(min_length=1)]
Truth = Annotated[bool, BeforeValidator(_truth)]


def selected(value: Any, selections: Sequence[str], known: Collection[str]) -> Any:
    """What of a global lifecycle the selections of a manifest choose; None where they leave nothing.

    A mapping with keys among `known` stands for the section of the first selection that it has. Without one of these
    its other keys are what counts ("Component recipe reference", Selections).
    """
    if not isinstance(value, Mapping):
        return value
    for selection in selections:
        if selection in value:
            return selected(value[selection], selections, known)
    rest = {key: selected(item, selections, known) for key, item in value.items() if key not in known}
    return {key: item for key, item in rest.items() if item is not None} or None
