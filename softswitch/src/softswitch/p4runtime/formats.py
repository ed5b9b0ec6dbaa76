"""How values are to be written for people, as far as a P4Info says it: `@format(…)` of key fields and parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from finsy.proto import p4i

from softswitch.engine.addresses import ANNOTATED, Format

_FORMAT = re.compile(r"@format\(\s*(\w+)\s*\)")


def formats(p4info: p4i.P4Info) -> dict[tuple[str, str], Format]:
    """By the name of a table or action, and that of its key field or parameter. A format that does not fit the width
    is not there; one that is no address is hexadecimal, as is what translates to text."""
    found = {}
    for owner, elements in (
        *((table.preamble.name, table.match_fields) for table in p4info.tables),
        *((action.preamble.name, action.params) for action in p4info.actions),
    ):
        for element in elements:
            if name := _annotated(element.annotations):
                form, width = ANNOTATED.get(name, (Format.HEX, element.bitwidth))
                if width == element.bitwidth:
                    found[owner, element.name] = form
    return found


def _annotated(annotations: Sequence[str]) -> str | None:
    matches = (_FORMAT.fullmatch(annotation) for annotation in annotations)
    return next((match[1] for match in matches if match), None)
