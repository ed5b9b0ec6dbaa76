"""Every kind of table, changed and looked up at random, gives what a search through all its entries gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from softswitch.engine.engine import Engine
from softswitch.entries import (
    ErrorKind,
    Exact,
    Lpm,
    MatchKey,
    Operation,
    Optional,
    Range,
    TableOperation,
    Ternary,
)

from tests.softswitch.native.builder import ProgramBuilder, assign, primitive, send_to

DEFAULT = 0xDEFA


@dataclass(frozen=True)
class Kind:
    """A key of a table: JSON match kind per field, widths, and a random match for each field."""

    kinds: tuple[str, ...]
    widths: tuple[int, ...]
    draw: tuple[Callable[[random.Random, int], MatchKey], ...]


def value(rng: random.Random, width: int) -> int:
    """Few distinct values, so that keys collide."""
    return rng.choice(
        [0, 1, (1 << width) - 1, 1 << (width - 1), rng.getrandbits(width) & 0x0F0F, rng.getrandbits(width)]
    ) & ((1 << width) - 1)


def exact(rng: random.Random, width: int) -> MatchKey:
    return Exact(value(rng, width))


def lpm(rng: random.Random, width: int) -> MatchKey:
    length = rng.choice([0, 1, width // 2, width - 1, width])
    keep = ((1 << length) - 1) << (width - length)
    return Lpm(value(rng, width) & keep, length)


def ternary(rng: random.Random, width: int) -> MatchKey:
    mask = rng.choice([0, (1 << width) - 1, 0xF0 & ((1 << width) - 1), value(rng, width)])
    return Ternary(value(rng, width) & mask, mask)


def optional(rng: random.Random, width: int) -> MatchKey:
    return Optional(rng.choice([None, value(rng, width)]))


def ranged(rng: random.Random, width: int) -> MatchKey:
    low, high = sorted((value(rng, width), value(rng, width)))
    return Range(low, high)


KINDS = {
    "exact": Kind(("exact",), (32,), (exact,)),
    "exact, several words": Kind(("exact",) * 4, (9, 48, 64, 128), (exact,) * 4),
    "lpm": Kind(("lpm",), (32,), (lpm,)),
    "lpm beside exact": Kind(("exact", "lpm"), (8, 128), (exact, lpm)),
    "ternary": Kind(("ternary", "ternary"), (16, 48), (ternary, ternary)),
    "ternary, wide": Kind(("ternary", "exact", "lpm"), (100, 4, 64), (ternary, exact, lpm)),
    "optional": Kind(("ternary", "exact"), (32, 8), (optional, exact)),
    "range": Kind(("range", "ternary", "range"), (16, 32, 64), (ranged, ternary, ranged)),
}


def covers(match: MatchKey, key: int, width: int) -> bool:
    """The definition of each match kind."""
    match match:
        case Exact(v):
            return key == v
        case Lpm(v, length):
            return key >> (width - length) == v >> (width - length)
        case Ternary(v, mask):
            return key & mask == v
        case Optional(v):
            return v is None or key == v
        case Range(low, high):
            return low <= key <= high
    raise TypeError(match)


@dataclass
class Model:
    """All entries in the order of insertion."""

    kind: Kind
    entries: dict[tuple[tuple[MatchKey, ...], int], int]

    def find(self, keys: tuple[int, ...]) -> int:
        """The answer of the best entry: longest prefix or highest priority, the elder of equals."""
        best: tuple[int, int] | None = None
        for (matches, priority), answer in self.entries.items():
            if all(covers(m, k, w) for m, k, w in zip(matches, keys, self.kind.widths, strict=True)):
                lengths = [m.prefix_length for m in matches if isinstance(m, Lpm)]
                rank = priority or (lengths[0] if lengths else 0)
                if best is None or rank > best[0]:
                    best = (rank, answer)
        return DEFAULT if best is None else best[1]


def program(kind: Kind, size: int) -> str:
    """A table over header `in` whose action's parameter becomes `out.answer`."""
    fields: list[tuple[str, int] | tuple[str, int, bool]] = [(f"k{i}", w) for i, w in enumerate(kind.widths)]
    pad = -sum(kind.widths) % 8
    builder = ProgramBuilder([*fields, ("pad", pad)] if pad else fields, [("answer", 32)])
    body = [send_to(), primitive("add_header", {"type": "header", "value": "out"})]
    act = builder.action(
        "answer", [*body, assign("out", "answer", {"type": "runtime_data", "value": 0})], [("value", 32)]
    )
    builder.table(
        "t", [("in", f"k{i}", k) for i, k in enumerate(kind.kinds)], [act], act, default_data=[DEFAULT], size=size
    )
    return builder.text()


def look_up(engine: Engine, kind: Kind, keys: tuple[int, ...]) -> int:
    bits = 0
    for key, width in zip(keys, kind.widths, strict=True):
        bits = bits << width | key
    pad = -sum(kind.widths) % 8
    data = (bits << pad).to_bytes((sum(kind.widths) + pad) // 8, "big")
    ((_, output),) = engine.process(0, data)
    return int.from_bytes(output[-4:], "big")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_against_search_of_all_entries(engine: Engine, name: str, seed: int) -> None:
    kind, rng, size = KINDS[name], random.Random(seed), 300
    prioritised = any(k in ("ternary", "range") for k in kind.kinds)
    engine.load(program(kind, size))
    model = Model(kind, {})
    for step in range(1500):
        known = list(model.entries)
        if known and rng.random() < 0.5:
            matches, priority = rng.choice(known)
        else:
            matches = tuple(d(rng, w) for d, w in zip(kind.draw, kind.widths, strict=True))
            priority = rng.randrange(1, 6) if prioritised else 0
        # sometimes grow, sometimes shrink
        choice = rng.choices(
            [Operation.INSERT, Operation.MODIFY, Operation.DELETE], [4, 1, 1] if step % 600 < 400 else [1, 1, 6]
        )[0]
        wanted: ErrorKind | None = None
        if choice is Operation.INSERT:
            if (matches, priority) in model.entries:
                wanted = ErrorKind.ALREADY_EXISTS
            elif len(model.entries) == size:
                wanted = ErrorKind.RESOURCE_EXHAUSTED
            else:
                model.entries[(matches, priority)] = step
        elif (matches, priority) not in model.entries:
            wanted = ErrorKind.NOT_FOUND
        elif choice is Operation.MODIFY:
            model.entries[(matches, priority)] = step
        else:
            del model.entries[(matches, priority)]
        action = None if choice is Operation.DELETE else "answer"
        parameters = () if action is None else (step,)
        (error,) = engine.apply([TableOperation(choice, "t", matches, priority, action, parameters)])
        assert (error.kind if error else None) == wanted, (step, choice, error)
        for _ in range(2):
            keys = tuple(value(rng, w) for w in kind.widths)
            assert look_up(engine, kind, keys) == model.find(keys), (step, keys)
