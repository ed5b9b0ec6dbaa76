"""YAML documents whose mistakes are told as `file:line: field: expected ...`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a document."""

    path: Path
    line: int
    """Counts from 1."""
    field: str
    """The field's path in the document, dotted; empty for the document itself."""
    problem: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.path}:{self.line}: {field}{self.problem}"


class LocatedError(Exception):
    """Every mistake found in a document, a line each."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed document that knows on which line each of its fields stands."""

    path: Path
    data: Any

    def line(self, location: Location) -> int:
        """The line of a field, or of the nearest thing around it that exists."""
        node, line = self.data, 1
        for key in location:
            if isinstance(node, CommentedMap):
                found = next((own for own in node if str(own).lower() == str(key).lower()), None)
                if found is None:
                    break
                line, node = node.lc.key(found)[0] + 1, node[found]
            elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
                line, node = node.lc.item(key)[0] + 1, node[key]
            else:
                break
        return int(line)

    def mistake(self, location: Location, problem: str) -> Mistake:
        """Something wrong at a field."""
        return Mistake(self.path, self.line(location), ".".join(str(part) for part in location), problem)


def read(path: Path, error: type[LocatedError]) -> Source:
    """Parse a file. Raises `error` when it cannot be read or is not a YAML mapping."""
    try:
        text = path.read_text()
    except OSError as problem:
        raise error([Mistake(path, 1, "", f"cannot be read: {problem.strerror}")]) from problem
    except UnicodeDecodeError as problem:
        raise error([Mistake(path, 1, "", "expected UTF-8 text")]) from problem
    return parse(path, text, error)


def parse(path: Path, text: str, error: type[LocatedError]) -> Source:
    """Parse a document that stands at `path`. Raises `error` when it is not a YAML mapping."""
    try:
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + 1 if mark else 1
        raise error([Mistake(path, line, "", f"not YAML: {problem.problem or problem.context}")]) from problem
    except YAMLError as problem:
        raise error([Mistake(path, 1, "", f"not YAML: {problem}")]) from problem
    if not isinstance(data, CommentedMap):
        raise error([Mistake(path, 1, "", "expected a mapping of fields")])
    return Source(path, data)


def validate(source: Source, model: type[Model], error: type[LocatedError]) -> Model:
    """The document as a model. Raises `error` with all mistakes, in the order of their lines."""
    try:
        return model.model_validate(_plain(source.data))
    except ValidationError as problems:
        mistakes = [
            source.mistake(problem["loc"], _expectation(problem)) for problem in problems.errors(include_url=False)
        ]
        raise error(sorted(mistakes, key=lambda mistake: mistake.line)) from problems


def _plain(value: Any) -> Any:
    """The document without ruamel's types, which strict models refuse."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _expectation(problem: ErrorDetails) -> str:
    """A pydantic error as what was expected and what stands there."""
    context = problem.get("ctx", {})
    given = problem["input"]
    match problem["type"]:
        case "missing":
            return "expected, but missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "unknown field"
        case "value_error":
            return f"{context['error']}, got {_brief(given)}" if not isinstance(given, dict) else str(context["error"])
        case "literal_error" | "enum":
            return f"expected {context['expected']}, got {_brief(given)}"
        case "string_pattern_mismatch":
            return f"expected text like {context['pattern']}, got {_brief(given)}"
        case _:
            message = problem["msg"].removeprefix("Input should be ")
            return f"expected {message}, got {_brief(given)}"


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
