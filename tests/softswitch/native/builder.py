"""BMv2 JSON made by hand, for tests that need one construct and nothing around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from finsy.proto import p4i
from softswitch.bmv2.expressions import (
    Binary,
    BoolConst,
    Const,
    Expression,
    FieldRef,
    Ternary,
    Unary,
    Valid,
)

STANDARD = [
    ("ingress_port", 9),
    ("egress_spec", 9),
    ("egress_port", 9),
    ("instance_type", 32),
    ("packet_length", 32),
    ("enq_timestamp", 32),
    ("enq_qdepth", 19),
    ("deq_timedelta", 32),
    ("deq_qdepth", 19),
    ("ingress_global_timestamp", 48),
    ("egress_global_timestamp", 48),
    ("mcast_grp", 16),
    ("egress_rid", 16),
    ("checksum_error", 1),
    ("parser_error", 32),
    ("priority", 3),
]
ERRORS = [
    ["NoError", 0],
    ["PacketTooShort", 1],
    ["NoMatch", 2],
    ["StackOutOfBounds", 3],
    ["HeaderTooShort", 4],
    ["ParserTimeout", 5],
    ["ParserInvalidArgument", 6],
]
OUT_PORT = 1


def to_json(e: Expression) -> dict[str, Any]:
    """The JSON form of an expression."""
    match e:
        case Const(value):
            return {"type": "hexstr", "value": f"{'-' if value < 0 else ''}0x{abs(value):x}"}
        case BoolConst(value):
            return {"type": "bool", "value": value}
        case FieldRef(header, name):
            return {"type": "field", "value": [header, name]}
        case Valid(header):
            return _operation("valid", None, {"type": "header", "value": header})
        case Unary(op, operand):
            return _operation(op, None, to_json(operand))
        case Binary(op, left, right):
            return _operation(op, to_json(left), to_json(right))
        case Ternary(condition, left, right):
            chosen = {"op": "?", "cond": to_json(condition), "left": to_json(left), "right": to_json(right)}
            return {"type": "expression", "value": chosen}
    raise TypeError(e)


def _operation(op: str, left: Any, right: Any) -> dict[str, Any]:
    return {"type": "expression", "value": {"op": op, "left": left, "right": right}}


def field(header: str, name: str) -> dict[str, Any]:
    """A field operand."""
    return {"type": "field", "value": [header, name]}


def assign(header: str, name: str, value: Expression | dict[str, Any]) -> dict[str, Any]:
    """An `assign` primitive."""
    source = value if isinstance(value, dict) else {"type": "expression", "value": to_json(value)}
    return {"op": "assign", "parameters": [field(header, name), source]}


def primitive(op: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """Any primitive."""
    return {"op": op, "parameters": list(parameters)}


class ProgramBuilder:
    """One packet header `in`, one header `out` that starts invalid, metadata `m`, and what a test adds.

    Without tables the ingress runs `actions[0]`; packets leave through port 1 unless an action says otherwise.
    """

    def __init__(
        self,
        incoming: list[tuple[str, int] | tuple[str, int, bool]],
        outgoing: list[tuple[str, int] | tuple[str, int, bool]] = [],  # noqa: B006 (never changed)
        metadata: list[tuple[str, int] | tuple[str, int, bool]] = [],  # noqa: B006
    ) -> None:
        self.actions: list[dict[str, Any]] = []
        self.tables: list[dict[str, Any]] = []
        self.conditionals: list[dict[str, Any]] = []
        self.first: str | None = None
        types: list[tuple[str, Sequence[Sequence[Any]]]] = [
            ("standard_metadata", STANDARD),
            ("in_t", incoming),
            ("out_t", outgoing),
            ("m_t", metadata),
        ]
        self.root: dict[str, Any] = {
            "header_types": [
                {"name": name, "id": i, "fields": [list(f) for f in fields]} for i, (name, fields) in enumerate(types)
            ],
            "headers": [
                {"name": "standard_metadata", "id": 0, "header_type": "standard_metadata", "metadata": True},
                {"name": "in", "id": 1, "header_type": "in_t", "metadata": False},
                {"name": "out", "id": 2, "header_type": "out_t", "metadata": False},
                {"name": "m", "id": 3, "header_type": "m_t", "metadata": True},
            ],
            "header_stacks": [],
            "field_lists": [],
            "errors": ERRORS,
            "parsers": [
                {
                    "name": "parser",
                    "id": 0,
                    "init_state": "start",
                    "parse_states": [
                        {
                            "name": "start",
                            "id": 0,
                            "parser_ops": [{"op": "extract", "parameters": [{"type": "regular", "value": "in"}]}],
                            "transition_key": [],
                            "transitions": [{"type": "default", "value": None, "mask": None, "next_state": None}],
                        }
                    ],
                }
            ],
            "deparsers": [{"name": "deparser", "id": 0, "order": ["in", "out"], "primitives": []}],
            "counter_arrays": [],
            "register_arrays": [],
            "calculations": [],
            "learn_lists": [],
            "checksums": [],
        }

    def action(self, name: str, primitives: list[dict[str, Any]], parameters: list[tuple[str, int]] = []) -> int:  # noqa: B006
        """Adds an action, returns its id."""
        identifier = len(self.actions)
        data = [{"name": n, "bitwidth": w} for n, w in parameters]
        self.actions.append({"name": name, "id": identifier, "runtime_data": data, "primitives": primitives})
        return identifier

    def table(
        self,
        name: str,
        keys: list[tuple[str, str, str]],
        actions: list[int],
        default: int,
        default_data: list[int] = [],  # noqa: B006
        size: int = 1024,
        **extra: Any,
    ) -> None:
        """Adds a table that ends the pipeline; keys are (header, field, match kind)."""
        names = [self.actions[a]["name"] for a in actions]
        kinds = [k for _, _, k in keys]
        kind = next((k for k in ("range", "ternary", "lpm") if k in kinds), "exact")
        self.tables.append(
            {
                "name": name,
                "id": len(self.tables),
                "key": [{"match_type": k, "name": f, "target": [h, f], "mask": None} for h, f, k in keys],
                "match_type": kind,
                "type": "simple",
                "max_size": size,
                "with_counters": False,
                "support_timeout": False,
                "direct_meters": None,
                "action_ids": actions,
                "actions": names,
                "base_default_next": None,
                "next_tables": dict.fromkeys(names),
                "default_entry": {
                    "action_id": default,
                    "action_const": False,
                    "action_data": [hex(v) for v in default_data],
                    "action_entry_const": False,
                },
                **extra,
            }
        )
        if self.first is None:
            self.first = name

    def text(self) -> str:
        """The JSON."""
        if not self.tables and self.actions:
            self.table("run", [], [0], 0)
        ingress = {
            "name": "ingress",
            "id": 0,
            "init_table": self.first,
            "tables": self.tables,
            "action_profiles": [],
            "conditionals": self.conditionals,
        }
        egress = {
            "name": "egress",
            "id": 1,
            "init_table": None,
            "tables": [],
            "action_profiles": [],
            "conditionals": [],
        }
        return json.dumps(self.root | {"actions": self.actions, "pipelines": [ingress, egress]})


def send_to(port: int = OUT_PORT) -> dict[str, Any]:
    """Sets the egress port."""
    return assign("standard_metadata", "egress_spec", Const(port))


MATCH_TYPES = {
    "exact": p4i.MatchField.EXACT,
    "lpm": p4i.MatchField.LPM,
    "ternary": p4i.MatchField.TERNARY,
    "range": p4i.MatchField.RANGE,
    "optional": p4i.MatchField.OPTIONAL,
}


def p4info(builder: ProgramBuilder) -> p4i.P4Info:
    """What p4c would write of a program's tables and actions."""
    info = p4i.P4Info()
    widths = {(h["name"], f[0]): f[1] for h in builder.root["headers"] for f in _fields_of(builder, h)}
    for action in builder.actions:
        described = info.actions.add()
        described.preamble.id, described.preamble.name = 0x01000001 + action["id"], action["name"]
        for place, parameter in enumerate(action["runtime_data"], start=1):
            described.params.add(id=place, name=parameter["name"], bitwidth=parameter["bitwidth"])
    for table in builder.tables:
        entry = info.tables.add(size=table["max_size"])
        entry.preamble.id, entry.preamble.name = 0x02000001 + table["id"], table["name"]
        for place, key in enumerate(table["key"], start=1):
            width = widths[tuple(key["target"])]
            kind = MATCH_TYPES[key["match_type"]]
            entry.match_fields.add(id=place, name=key["name"], bitwidth=width, match_type=kind)
        for identifier in table["action_ids"]:
            entry.action_refs.add(id=0x01000001 + identifier)
    return info


def _fields_of(builder: ProgramBuilder, header: dict[str, Any]) -> list[list[Any]]:
    return next(t["fields"] for t in builder.root["header_types"] if t["name"] == header["header_type"])
