"""The fabric file's fields as a page, from the schema: `make docs` writes docs/fabric.md.

A field's meaning is the docstring below it, its unit and bounds are in its annotation.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from controller.fabric.schema import POLICY_FORMS, Fabric, Part, PolicySpec
from controller.fabric.values import Described
from hitless.steering.policies import Policy
from hitless.steering.units import Shift, Unit
from hitless.words import WEIGHT_MAX

PAGE = Path("docs/fabric.md")
BEGINNING = """# The fabric file

The controller's only intent, in YAML. `topologies/pair.yaml` is one to copy; `hitless check FILE` says what is wrong
with one, by file, line and field. Ids, indices and slots are never reused: something new gets a number that nothing has
had before. Unknown fields are mistakes.

This page is made from `controller/fabric/schema.py` by `make docs`.
"""
REQUIRED = "required"
PLAIN = {int: "number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class FieldText:
    """A row of a table."""

    name: str
    kind: str
    unit: str
    default: str
    meaning: str

    def __str__(self) -> str:
        return f"| `{self.name}` | {self.kind} | {self.unit} | {self.default} | {self.meaning} |"


def page() -> str:
    """The whole page."""
    told: list[type] = [Fabric]
    for part in told:
        told += [one for one in dict.fromkeys(_parts(part)) if one not in told]
    return BEGINNING + "".join(_section(part) for part in told) + _policies()


def _section(part: type) -> str:
    title = "The file" if part is Fabric else part.__name__
    return f"\n## {title}\n\n{_sentence(part)}\n\n{_table(part)}"


def _policies() -> str:
    sections = [
        f"\n### `{name}`\n\n{_sentence(form)}\n" + (f"\n{_table(form)}" if _rows(form) else "")
        for name, form in POLICY_FORMS.items()
    ]
    example = "`policy: {single: {margin: 400, dwell_ms: 3000}}` or `policy: {spread: {}}`"
    return f"\n## Policy\n\nHow instances are chosen: exactly one of these, such as {example}.\n" + "".join(sections)


def _sentence(part: type) -> str:
    return " ".join(inspect.cleandoc(part.__doc__ or "").split())


def _table(part: type) -> str:
    head = ["| field | type | unit | default | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(str, _rows(part))]) + "\n"


def _rows(part: type) -> list[FieldText]:
    meanings = _meanings(part)
    hints = get_type_hints(part, include_extras=True)
    return [
        FieldText(
            _alias(hints[name]) or name,
            _kind(hints[name]),
            _unit(hints[name]),
            default,
            meanings.get(name) or " ".join(_sentence(one) for one in _within(hints[name])),
        )
        for name, default in _defaults(part, hints)
    ]


def _defaults(part: type, hints: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields in order, and what stands there when nothing is written."""
    if is_dataclass(part):
        given = {one.name: one.default for one in fields(part)}
    else:
        assert issubclass(part, Part)
        given = {name: MISSING if one.is_required() else one.default for name, one in part.model_fields.items()}
    for name, default in given.items():
        yield name, REQUIRED if default is MISSING else _written(default, hints[name])


def _written(value: object, hint: Any) -> str:
    unit = next((one for one in _metadata(hint) if isinstance(one, Unit)), None)
    match value:
        case None:
            return "none"
        case Policy():
            return f"`{value.name}: {{}}`"
        case Part() if all(getattr(value, name) == one.default for name, one in type(value).model_fields.items()):
            return f"[{type(value).__name__}](#{type(value).__name__.lower()})'s defaults"
        case Part():
            return f"`{{{', '.join(f'{name}: {one}' for name, one in value.model_dump().items())}}}`"
        case Enum():
            return f"`{value.name.lower()}`"
        case int() if unit is not None:
            return f"`{unit.written(value)}`"
        case list():
            return "`[]`"
    if is_dataclass(value):
        return f"[{type(value).__name__}](#{type(value).__name__.lower()})'s defaults"
    return f"`{value}`"


def _metadata(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _alias(hint: Any) -> str | None:
    return next((one.alias for one in _metadata(hint) if isinstance(one, FieldInfo) and one.alias), None)


def _unit(hint: Any) -> str:
    return next((one.name for one in _metadata(hint) if isinstance(one, Unit) and not isinstance(one, Shift)), "")


def _kind(hint: Any) -> str:
    for one in _metadata(hint):
        if isinstance(one, Described):
            return one.text
        if isinstance(one, Shift):
            return f"{one.name}, 0 to {WEIGHT_MAX}, or off"
    if get_origin(hint) is Annotated:
        return _bounds(hint) or _kind(get_args(hint)[0])
    inner = [one for one in get_args(hint) if one is not type(None)]
    if hint == PolicySpec:
        return "[Policy](#policy)"
    if get_origin(hint) is dict:
        return f"mapping of names to {_kind(inner[1])}"
    if get_origin(hint) is list:
        return f"list of {_kind(inner[0])}"
    if get_origin(hint) is Literal:
        return ", ".join(map(str, inner))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_kind, inner))
    if issubclass(hint, Enum):
        return ", ".join(one.name.lower() for one in hint)
    return PLAIN.get(hint, f"[{hint.__name__}](#{hint.__name__.lower()})")


def _bounds(hint: Any) -> str | None:
    """A number's range."""
    limits: dict[str, int] = {}
    for one in _metadata(hint):
        for limit in one.metadata if isinstance(one, FieldInfo) else ():
            for name in ("ge", "le", "lt"):
                if (value := getattr(limit, name, None)) is not None:
                    limits[name] = value
    if "ge" not in limits:
        return None
    return f"{limits['ge']} to {limits['le'] if 'le' in limits else limits['lt'] - 1}"


def _parts(part: type) -> list[type]:
    """The mappings that stand in a mapping, in the order of its fields."""
    hints = get_type_hints(part, include_extras=True)
    return [one for name, _ in _defaults(part, hints) for one in _within(hints[name])]


def _within(hint: Any) -> Iterator[type]:
    """The mappings that a field may hold; policies have a section of their own."""
    if isinstance(hint, type) and (issubclass(hint, Part) or is_dataclass(hint)):
        yield hint
    elif hint != PolicySpec:
        for inner in get_args(hint):
            yield from _within(inner)


def _meanings(part: type) -> dict[str, str]:
    """The docstring below each field."""
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    assert isinstance(made, ast.ClassDef)
    meanings = {}
    for field, below in zip(made.body, made.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                meanings[name] = " ".join(text.split())
    return meanings


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: made from the schema")
