"""Compiles a sample and plays its packets: what comes out must be what its STF file expects, in order, port by port.

The switch gets what p4c's own runner (backends/bmv2/bmv2stf.py) sends BMv2; as there, counters are not looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finsy.proto import p4i, p4r
from google.protobuf import text_format
from softswitch.bmv2.match import Exact, Lpm, Ternary

import softswitch
from tests.softswitch.native.writes import Entry, Match, Writes, replication
from tests.stf.language import Statement, number, pattern, same, statements

COMPILER = "p4c-bm2-ss"
FOLDERS: dict[str, tuple[str, ...]] = {"p4_16_samples": (), "parser-inline": ("--parser-inline-opt",)}
"""Of samples, the second below the first, with the options that p4c's own tests of them give its compiler."""


class Uncompiled(Exception):
    """p4c does not compile the sample for BMv2."""


class Failed(Exception):
    """The switch does not do what the sample expects. The text says what it did."""


def samples(sources: Path) -> list[Path]:
    """The programs for v1model of p4c's sources that come with packets."""
    folder = sources / "testdata" / "p4_16_samples"
    packets = sorted(p for place in (folder, folder / "parser-inline") for p in place.glob("*.stf"))
    programs = (path.with_suffix(".p4") for path in packets)
    return [program for program in programs if program.exists() and "v1model.p4" in program.read_text()]


def compiled(sample: Path, folder: Path) -> tuple[Path, Path]:
    """BMv2 JSON and P4Info. Raises Uncompiled."""
    made, info = folder / f"{sample.stem}.json", folder / f"{sample.stem}.p4info.txtpb"
    command = [COMPILER, "--std", "p4-16", "--arch", "v1model", *FOLDERS[sample.parent.name], "-o", str(made)]
    done = subprocess.run(
        [*command, "--p4runtime-files", str(info), str(sample)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Uncompiled(next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[-200:]))
    return made, info


@dataclass
class Player:
    """A switch with a sample's program, and what its packets made come out."""

    switch: softswitch.Switch
    info: p4i.P4Info
    tables: dict[str, dict[str, Any]]
    """The JSON's, by name."""
    received: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    expected: dict[int, list[str | None]] = field(default_factory=lambda: defaultdict(list))
    nodes: list[tuple[int, list[int]]] = field(default_factory=list)
    groups: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def do(self, statement: Statement) -> None:
        """One statement. Raises LookupError for a name that the program does not have, softswitch.WriteError."""
        words = statement.words
        match statement.command:
            case "add" | "setdefault":
                self._entry(statement)
            case "packet":
                for port, data in self.switch.process(number(words[0]), bytes.fromhex("".join(words[1:]))):
                    self.received[port].append(data)
            case "expect":
                self.expected[number(words[0])].append("".join(words[1:]) or None)
            case "mc_mgrp_create":
                self.groups[number(words[0])] = []
            case "mc_node_create":
                self.nodes.append((number(words[0]), [number(port) for port in words[1:]]))
            case "mc_node_associate":
                instance, ports = self.nodes[number(words[1])]
                self.groups[number(words[0])] += [(port, instance) for port in ports]
                self._replicate({number(words[0]): self.groups[number(words[0])]}, {})
            case "mirroring_add":
                self._replicate({}, {number(words[0]): [(number(words[1]), 0)]})
            case "mirroring_add_mc":
                self._replicate({}, {number(words[0]): self.groups[number(words[1])]})
            case "register_write":
                self._register(words[0], number(words[1]), number(words[2]))
            case "wait" | "no_packet" | "check_counter" | "register_read" | "mirroring_get" | "register_reset":
                pass
            case "meter_get_rates" | "meter_set_rates" | "meter_array_set_rates":
                pass  # of rates that no sample's packets come near
            case other:
                raise LookupError(f"statement {other!r}")

    def check(self) -> None:
        """Raises Failed."""
        for port in sorted(self.received.keys() | self.expected.keys()):
            got, wanted = self.received[port], self.expected[port]
            if wanted == [None] and got:
                continue
            if len(got) != len(wanted):
                raise Failed(f"port {port}: {len(got)} packets, not {len(wanted)}: {[data.hex() for data in got]}")
            for data, text in zip(got, wanted, strict=True):
                if text is not None and not same(text, data):
                    raise Failed(f"port {port}: {data.hex()}, not {text}")

    def _entry(self, statement: Statement) -> None:
        table = self.tables[_named(statement.table, self.tables)]
        described = next((t for t in self.info.tables if t.preamble.name == table["name"]), None)
        if described is None:
            raise LookupError(f"table {table['name']!r} in the P4Info")
        used = {ref.id for ref in described.action_refs}
        actions = {a.preamble.name: a for a in self.info.actions if a.preamble.id in used}
        action = actions[_named(statement.action, actions)]
        given = {name: number(value) for name, value in statement.arguments}
        default = statement.command == "setdefault"
        kinds = [key["match_type"] for key in table["key"]]
        ordered = any(kind in ("ternary", "range", "optional") for kind in kinds)
        key = () if default else self._key(table["key"], described, statement)
        entry = Entry(
            table["name"],
            key,
            (statement.priority or 0) + 1 if ordered and not default else 0,
            action.preamble.name,
            tuple(given[parameter.name] for parameter in action.params),
            default,
        )
        update = p4r.Update.MODIFY if default else p4r.Update.INSERT
        self.switch.write([p4r.Update(type=update, entity=Writes(self.info).entity(entry))])

    @staticmethod
    def _key(keys: list[dict[str, Any]], described: p4i.Table, statement: Statement) -> tuple[Match, ...]:
        names = {key["name"]: place for place, key in enumerate(keys)}
        anything = {"ternary": Ternary(0, 0), "lpm": Lpm(0, 0), "exact": Exact(0), "valid": Exact(0)}
        made: list[Match] = [anything[key["match_type"]] for key in keys]
        for name, text in statement.matches:
            place = names[_key_named(name, list(names))]
            width, kind = described.match_fields[place].bitwidth, keys[place]["match_type"]
            if kind == "ternary":
                value, _, mask = text.partition("&&&")
                made[place] = Ternary(*((number(value), number(mask)) if mask else pattern(text, width)))
            elif kind == "lpm":
                made[place] = _prefix(text, width)
            else:
                made[place] = Exact(number(text))
        return tuple(made)

    def _replicate(self, groups: dict[int, list[tuple[int, int]]], sessions: dict[int, list[tuple[int, int]]]) -> None:
        for entity in replication(groups, sessions):
            try:
                self.switch.write([p4r.Update(type=p4r.Update.INSERT, entity=entity)])
            except softswitch.WriteError:  # there already, with fewer copies
                self.switch.write([p4r.Update(type=p4r.Update.MODIFY, entity=entity)])

    def _register(self, name: str, index: int, value: int) -> None:
        registers = {r.preamble.name: r.preamble.id for r in self.info.registers}
        entry = p4r.RegisterEntry(register_id=registers[_named(name, registers)], index=p4r.Index(index=index))
        entry.data.bitstring = value.to_bytes(max((value.bit_length() + 7) // 8, 1), "big")
        self.switch.write([p4r.Update(type=p4r.Update.MODIFY, entity=p4r.Entity(register_entry=entry))])


def play(made: Path, info: Path, packets: str) -> None:
    """Run a compiled sample. Raises Failed, whatever went wrong."""
    try:
        tables = {t["name"]: t for p in json.loads(made.read_text())["pipelines"] for t in p["tables"]}
        with softswitch.load(made, info) as switch:
            player = Player(switch, text_format.Parse(info.read_text(), p4i.P4Info()), tables)
            for statement in statements(packets):
                player.do(statement)
            player.check()
    except (LookupError, ValueError, softswitch.LoadError, softswitch.WriteError) as error:
        raise Failed(f"{type(error).__name__}: {error}") from error


def _named(name: str, known: Any) -> str:
    """A full name by its end, as p4c's runner takes it. Raises LookupError."""
    if name in known:
        return name
    found = [full for full in known if full.endswith(name)]
    if len(found) != 1:
        raise LookupError(f"{name!r} among {sorted(known)}")
    return found[0]


def _key_named(name: str, known: list[str]) -> str:
    """The key field that a name stands for. Raises LookupError."""
    name = re.sub(r"\$([0-9]+)", r"[\1]", name)
    for wanted in (name, f"{name}$", f"{name}.$valid$", name.removesuffix("valid") + "$valid$"):
        if wanted in known:
            return wanted
    for full in known:
        if full.endswith((f".{name}", f".{name}$")) or (name == "valid" and full.endswith("$valid$")):
            return full
    raise LookupError(f"key field {name!r} among {known}")


def _prefix(text: str, width: int) -> Lpm:
    value, slash, length = text.partition("/")
    if slash:
        bits = int(length)
        return Lpm(number(value) >> (width - bits) << (width - bits), bits)
    if text[:2].lower() not in ("0x", "0b", "0o"):
        return Lpm(number(text), width)
    digits = {"0x": 4, "0o": 3, "0b": 1}[text[:2].lower()] * (len(text) - 2 - text.count("*"))
    return Lpm(number(text.replace("*", "0")) >> (width - digits) << (width - digits), digits)
