"""YAML documents whose mistakes are told as `file:line: field: expected ...`."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode

from hitless.faults import expectation

MAX_DEPTH = 40
"""Lists and mappings within one another."""
MAX_TOLD = 200
"""Characters of what ruamel says, which quotes values whole."""
MAX_OPEN = 200
BRACKET = re.compile(r"[\[\]{}]")
UNFILLED = re.compile(r"\{\{[^{}\n]*\}\}")
"""A placeholder of the template languages in use. In quotes it is text; bare, YAML makes mappings of it."""
MAX_VALUES = 300_000
"""Values of a document, with every alias written out."""
TOO_DEEP = f"expected lists and mappings {MAX_DEPTH} deep at most"

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
        return f"{self.path}:{self.line}: {' '.join(f'{field}{self.problem}'.splitlines())}"


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
    if (line := _crowded(text)) is not None:
        raise error([Mistake(path, line, "", TOO_DEEP)])
    if text.lstrip().startswith("{"):
        # JSON may be indented with tabs, which YAML refuses; within its texts there are none.
        text = text.replace("\t", " ")
    try:
        data = YAML(typ="rt").load(text)
        problem_at = _unbounded(data)
    except MarkedYAMLError as problem:
        marks = [mark for mark in (problem.problem_mark, problem.context_mark) if mark is not None]
        line = marks[0].line + 1 if marks else 1
        for mark in marks:
            if told := _unfilled(text, mark.line + 1):
                raise error([Mistake(path, mark.line + 1, "", told)]) from problem
        raise error([Mistake(path, line, "", _not_yaml(problem.problem or problem.context))]) from problem
    except YAMLError as problem:
        raise error([Mistake(path, 1, "", _not_yaml(problem))]) from problem
    except RecursionError as problem:
        raise error([Mistake(path, 1, "", TOO_DEEP)]) from problem
    except Exception as problem:  # ruamel lets through what int(), date() and its own code raise over a value
        line = _unreadable(text)
        raise error([Mistake(path, line, "", _unfilled(text, line) or _not_yaml(problem))]) from problem
    if problem_at is not None:
        location, told = problem_at
        source = Source(path, data)
        raise error([source.mistake(location, _unfilled(text, source.line(location)) or told)])
    if not isinstance(data, CommentedMap):
        raise error([Mistake(path, 1, "", "expected a mapping of fields")])
    return Source(path, data)


def validate(
    source: Source,
    model: type[Model],
    error: type[LocatedError],
    written: Callable[[Location], Location] = lambda location: location,
) -> Model:
    """The document as a model. Raises `error` with all mistakes, in the order of their lines.

    `written` says where in the document a field of the model stands, for models that move fields.
    """
    try:
        return model.model_validate(_plain(source.data))
    except ValidationError as problems:
        # Several fields of the model may come from one of the document, which is told of once.
        mistakes = dict.fromkeys(
            source.mistake(written(problem["loc"]), expectation(problem))
            for problem in problems.errors(include_url=False)
        )
        raise error(sorted(mistakes, key=lambda mistake: mistake.line)) from problems


def _not_yaml(problem: object) -> str:
    text = " ".join(str(problem).split())
    return f"not YAML: {text if len(text) <= MAX_TOLD else text[:MAX_TOLD] + '…'}"


def _unfilled(text: str, line: int) -> str | None:
    """What to say of a line that YAML makes nothing of because of a template's placeholder; None if it has none."""
    lines = text.splitlines()
    found = UNFILLED.search(lines[line - 1]) if line <= len(lines) else None
    return f"has an unfilled placeholder {found[0]}: write the value in its place" if found else None


def _crowded(text: str) -> int | None:
    """The line on which more brackets are open than any document has; None if there is none.

    ruamel's time grows with the square of them. A script in a document may have some that are never closed.
    """
    opened = 0
    for found in BRACKET.finditer(text):
        opened = max(0, opened + (1 if found[0] in "[{" else -1))
        if opened > MAX_OPEN:
            return text.count("\n", 0, found.start()) + 1
    return None


def _unbounded(data: Any) -> tuple[Location, str] | None:
    """Where a document is more than anybody writes, and what of it; None if it is not.

    Aliases make a few lines stand for any number of values, or for an endless one.
    """
    waiting: list[tuple[Location, Any]] = [((), data)]
    values = 0
    while waiting:
        location, value = waiting.pop()
        values += 1
        if len(location) > MAX_DEPTH:
            return location[:1], TOO_DEEP
        if values > MAX_VALUES:
            return location[:1], f"stands for more than {MAX_VALUES} values: write fewer aliases"
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not isinstance(key, str | int | float | date | None):
                    return location, "expected names, but a name is a list or a mapping"
                waiting.append(((*location, key if isinstance(key, str | int) else str(key)), item))
        elif isinstance(value, list):
            waiting += [((*location, index), item) for index, item in enumerate(value)]
    return None


def _unreadable(text: str) -> int:
    """The line of the first value that ruamel can make nothing of; 1 if it is none alone."""
    lines = []
    with suppress(Exception):
        waiting = [YAML(typ="rt").compose(text)]
        while waiting:
            node = waiting.pop()
            if isinstance(node, CollectionNode):
                waiting += [one for part in node.value for one in (part if isinstance(part, tuple) else (part,))]
                continue
            try:
                YAML(typ="rt").load(node.value)
            except YAMLError:
                continue
            except Exception:
                lines.append(int(node.start_mark.line) + 1)
    return min(lines, default=1)


def _plain(value: Any) -> Any:
    """The document, which is bounded, without ruamel's types, which strict models refuse."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    # YAML reads what looks like one as a date; nobody of ours wants other than text there.
    return value.isoformat() if isinstance(value, date) else value
