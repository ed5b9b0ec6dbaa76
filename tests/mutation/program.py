"""The steering program in which each guard can be taken out while it runs.

One program does for nearly all of them: a register tells which guard is out, and each condition asks for its own number
beside what it asked before. A guard in a place that does not see the metadata is removed from the source instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from p4src.build import P4INFO, PIPELINE, ROOT, compile_program, sources
from tests.mutation.guards import Guard
from tests.packet.artefacts import MUTANT

_CONTROL = re.compile(r"^\w[^\n]*\([^{]*\{", re.MULTILINE)
_BEFORE_INGRESS = ("control SteeringVerify",)
_ADDED = {
    "metadata.p4": ("struct metadata_t {", "struct metadata_t {\n    bit<16> mutant;"),
    "registers.p4": ("// Of an instance:", f"register<bit<16>, bit<1>>(1) {MUTANT};\n\n// Of an instance:"),
    "steering.p4": ("    apply {\n        if (", f"    apply {{\n        {MUTANT}.read(meta.mutant, 0);\n        if ("),
}
"""Of a source: what to replace, and by what."""


def switchable(guard: Guard) -> bool:
    """Whether the metadata can be seen where the guard is."""
    text = (ROOT / "p4src" / guard.source).read_text()
    (*_, control) = (found.group() for found in _CONTROL.finditer(text, 0, guard.start))
    return "metadata_t meta" in control and not control.startswith(_BEFORE_INGRESS)


def build(folder: Path, removed: Guard | None, guards: Sequence[Guard] = ()) -> None:
    """Compile the program without one guard and with a switch for each of `guards`: number n + 1 is for guards[n].

    Raises BuildError.
    """
    texts = _without(removed)
    for number, guard in reversed(list(enumerate(guards, 1))):
        text, at, to = texts[guard.source], guard.start, guard.end
        out = f"|| meta.mutant == {number}" if guard.without == "true" else f"&& meta.mutant != {number}"
        texts[guard.source] = f"{text[:at]}({text[at:to]} {out}){text[to:]}"
    for source, (old, new) in _ADDED.items() if guards else ():
        assert texts[source].count(old) == 1, f"{source} has no {old!r}"
        texts[source] = texts[source].replace(old, new)
    (folder / "p4src").mkdir(parents=True)
    for source, text in texts.items():
        (folder / "p4src" / source).write_text(text)
    pipeline, p4info = compile_program(folder, warnings=True)
    (folder / PIPELINE.name).write_text(pipeline)
    (folder / P4INFO.name).write_text(p4info)


def _without(guard: Guard | None) -> dict[str, str]:
    texts = {path.name: (ROOT / path).read_text() for path in sources()}
    if guard is not None:
        texts[guard.source] = guard.removed(texts[guard.source])
    return texts
