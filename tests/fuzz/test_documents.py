"""Files and messages that somebody broke or made up: each is read, or refused by a sentence that says where."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.fabric import file as fabric_file
from greengrass_agent import config
from hitless.component.recipe import Recipe
from hitless.located import LocatedError
from hitless.mqtt import messages
from hitless.mqtt.messages import Message, MessageError
from p4src.build import ROOT

DOCUMENTS = int(os.environ.get("DOCUMENTS", "60"))
"""Documents of each kind; `make fuzz` reads more."""
AGENT = {
    "thing": "edge1",
    "node_id": 1,
    "node_address": "10.0.0.11",
    "broker": {"host": "10.0.0.100", "port": 1883, "username": "edge1", "password": "secret"},
    "reports": {"address": "10.0.0.254"},
    "root": "/var/lib/hitless",
    "log_dir": "/var/log/hitless",
    "cgroup": {"version": 2, "paths": {"unified": "/sys/fs/cgroup/node"}},
}
SEEDS = {
    "recipe": (ROOT / "apps" / "thumbnail" / "recipe.yaml").read_text(),
    "fabric": (ROOT / "topologies" / "pair.yaml").read_text(),
    "agent": json.dumps(AGENT, indent=1),
}
WORDS = [
    *("&a ", "*a", "<<: *a", "!!binary x", "!!int x", "!!set {a}", "!!python/object:os.system x", "? [a]\n: b"),
    *("{", "[", "}", "]", "|", ">", "- ", ": ", ",", "\t", "\n", "#", "%YAML 9.9\n", "---\n", "...\n", '"', "'"),
    *("2001-99-99", "2001-01-01", "1e999", "-.inf", ".nan", "0x", "0o9", "1_000", "190:20:30", "~", "null", "yes"),
    *("\x00", "\x85", "\u2028", "\ufeff", "\U0010ffff", "-1", "9" * 30, "9" * 5000, "[" * 3000, "a" * 5000),
]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
"""A thousand bytes that would be a thousand million values."""


@st.composite
def broken(draw: st.DrawFn, seed: str) -> str:
    """The seed with some values and places overwritten."""
    lines = seed.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        word = draw(st.sampled_from(WORDS) | st.text(max_size=6))
        before, colon, after = lines[at].partition(":")
        match draw(st.integers(0, 3)):
            case 0:
                lines[at] = f"{before}{colon} {word}\n"
            case 1:
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + word + lines[at][place:]
            case 2:
                lines[at] = f"{word}{colon}{after}"
            case _:
                lines[at] = lines[draw(st.integers(0, len(lines) - 1))]
    return "".join(lines)


def load_fabric(path: Path) -> object:
    return fabric_file.load(path)


def load_agent(path: Path) -> object:
    return config.load(path)


def load_recipe(path: Path) -> object:
    return Recipe.parse(path.read_bytes().decode("utf-8", "surrogateescape"), str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


def judged(path: Path, text: str, load: Callable[[Path], object]) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(path)
    except LocatedError as error:
        for line in str(error).splitlines():
            where, number, problem = line.removeprefix(str(path)).split(":", 2)
            assert where == ""
            assert 1 <= int(number) <= text.count("\n") + 2
            assert problem.strip()
        assert len(str(error)) < 1 << 16


@pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")
@settings(max_examples=DOCUMENTS)
@given(data=st.data())
@pytest.mark.parametrize(
    ("kind", "load"),
    [("recipe", load_recipe), ("fabric", load_fabric), ("agent", load_agent)],
    ids=("recipe", "fabric", "agent"),
)
def test_a_broken_file_is_told_with_its_line(
    folder: Path, kind: str, load: Callable[[Path], object], data: st.DataObject
) -> None:
    judged(folder / f"{kind}.yaml", data.draw(broken(SEEDS[kind])), load)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BOMB, 10),
        ("a: &a [*a]", 1),
        ("a: " + "[" * 5000, 1),
        ("a: " + "{a: " * 5000, 1),
        ("a: " + "[" * 60 + "]" * 60, 1),
        ("a:\n" + "- " * 5000, 1),
        ("b: 1\na: 2001-99-99", 2),
        ("b: 1\na: " + "9" * 5000, 2),
        ("? {a: b}", 1),
        ("%YAML 9.9\n---\na: 1", 1),
    ],
    ids=["bomb", "loop", "lists", "mappings", "deep", "dashes", "date", "digits", "key", "version"],
)
@pytest.mark.parametrize("load", [load_recipe, load_fabric, load_agent])
def test_a_file_that_would_exhaust_the_reader_is_refused(
    folder: Path, text: str, line: int, load: Callable[[Path], object]
) -> None:
    path = folder / "exhausting.yaml"
    path.write_text(text)
    with pytest.raises(LocatedError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}:{line}: ")


def kinds(base: type[Message] = Message) -> Iterator[type[Message]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


KINDS = sorted({*kinds()} - {messages._ByOwnNames}, key=lambda kind: kind.__name__)
FIELDS = sorted({field.alias or name for kind in KINDS for name, field in kind.model_fields.items()})
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["1.0.0", "ab" * 32, "http://a/b", "QUEUED", "RUNNING", "../..", "\x00"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=DOCUMENTS)
@given(payload=values.map(json.dumps).map(str.encode) | st.binary(max_size=40))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"9" * 10_000)
@example(b'"\\ud800"')
def test_a_message_that_nobody_sends_is_refused_in_words(payload: bytes) -> None:
    for kind in (*KINDS, messages.Metrics):
        try:
            read: Any = kind.decode(payload)
        except MessageError as error:
            assert str(error)
            assert "\n" not in str(error)
            assert len(str(error)) < 1 << 14
        else:
            assert kind.decode(read.encode()) == read, "what was read is not what it says"
