"""Every kind of table, changed and looked up at random, gives what a search through all its entries gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from finsy.proto import p4i, p4r
from grpc import StatusCode
from softswitch.bmv2.match import Exact, Lpm, Range, Ternary

import softswitch
from tests.softswitch.native.builder import ProgramBuilder, assign, p4info, primitive, send_to
from tests.softswitch.native.writes import Entry, Match, Optional, Writes

DEFAULT = 0xDEFA


@dataclass(frozen=True)
class Kind:
    """A key of a table: JSON match kind per field, widths, and a random match for each field."""

    kinds: tuple[str, ...]
    widths: tuple[int, ...]
    draw: tuple[Callable[[random.Random, int], Match], ...]


def value(rng: random.Random, width: int) -> int:
    """Few distinct values, so that keys collide."""
    return rng.choice(
        [0, 1, (1 << width) - 1, 1 << (width - 1), rng.getrandbits(width) & 0x0F0F, rng.getrandbits(width)]
    ) & ((1 << width) - 1)


def exact(rng: random.Random, width: int) -> Match:
    return Exact(value(rng, width))


def lpm(rng: random.Random, width: int) -> Match:
    length = rng.choice([0, 1, width // 2, width - 1, width])
    keep = ((1 << length) - 1) << (width - length)
    return Lpm(value(rng, width) & keep, length)


def ternary(rng: random.Random, width: int) -> Match:
    mask = rng.choice([0, (1 << width) - 1, 0xF0 & ((1 << width) - 1), value(rng, width)])
    return Ternary(value(rng, width) & mask, mask)


def optional(rng: random.Random, width: int) -> Match:
    return Optional(rng.choice([None, value(rng, width)]))


def ranged(rng: random.Random, width: int) -> Match:
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
    "range, wide": Kind(("range", "ternary", "range", "range"), (96, 32, 16, 200), (ranged, ternary, ranged, ranged)),
}


def covers(match: Match, key: int, width: int) -> bool:
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
    entries: dict[tuple[tuple[Match, ...], int], int]

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


def program(kind: Kind, size: int) -> ProgramBuilder:
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
    return builder


def look_up(switch: softswitch.Switch, kind: Kind, keys: tuple[int, ...]) -> int:
    bits = 0
    for key, width in zip(keys, kind.widths, strict=True):
        bits = bits << width | key
    pad = -sum(kind.widths) % 8
    data = (bits << pad).to_bytes((sum(kind.widths) + pad) // 8, "big")
    ((_, output),) = switch.process(0, data)
    return int.from_bytes(output[-4:], "big")


def refusal(switch: softswitch.Switch, update: p4r.Update) -> StatusCode | None:
    """With which code an update is refused."""
    try:
        switch.write([update])
    except softswitch.WriteError as error:
        (reason,) = error.errors
        assert reason is not None
        return reason.code
    return None


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_against_search_of_all_entries(tmp_path: Path, name: str, seed: int) -> None:
    kind, rng, size = KINDS[name], random.Random(seed), 300
    prioritised = any(k in ("ternary", "range") for k in kind.kinds)
    builder = program(kind, size)
    info = p4info(builder)
    for field, draw in zip(info.tables[0].match_fields, kind.draw, strict=True):
        if draw is optional:
            field.match_type = p4i.MatchField.OPTIONAL
    (tmp_path / "made.json").write_text(builder.text())
    (tmp_path / "made.txtpb").write_text(str(info))
    model, writes = Model(kind, {}), Writes(info)
    with softswitch.load(tmp_path / "made.json", tmp_path / "made.txtpb") as switch:
        for step in range(1500):
            known = list(model.entries)
            if known and rng.random() < 0.5:
                matches, priority = rng.choice(known)
            else:
                matches = tuple(d(rng, w) for d, w in zip(kind.draw, kind.widths, strict=True))
                priority = rng.randrange(1, 6) if prioritised else 0
            # sometimes grow, sometimes shrink
            choice = rng.choices(
                [p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE], [4, 1, 1] if step % 600 < 400 else [1, 1, 6]
            )[0]
            wanted: StatusCode | None = None
            if choice == p4r.Update.INSERT:
                if (matches, priority) in model.entries:
                    wanted = StatusCode.ALREADY_EXISTS
                elif len(model.entries) == size:
                    wanted = StatusCode.RESOURCE_EXHAUSTED
                else:
                    model.entries[(matches, priority)] = step
            elif (matches, priority) not in model.entries:
                wanted = StatusCode.NOT_FOUND
            elif choice == p4r.Update.MODIFY:
                model.entries[(matches, priority)] = step
            else:
                del model.entries[(matches, priority)]
            entity = writes.entity(Entry("t", matches, priority, "answer", (step,)))
            assert refusal(switch, p4r.Update(type=choice, entity=entity)) == wanted, (step, choice)
            for _ in range(2):
                keys = tuple(value(rng, w) for w in kind.widths)
                assert look_up(switch, kind, keys) == model.find(keys), (step, keys)
