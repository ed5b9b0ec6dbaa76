"""Where generated code can tell what it does. The fast variant of a program has nothing there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.bmv2.control import Action, Conditional, Primitive, Table
from softswitch.bmv2.program import Checksum, ParserOp, ParserState

if TYPE_CHECKING:
    from softswitch.codegen.layout import Layout
    from softswitch.codegen.table_layout import TableLayout


class Hooks:
    """Each method is handed C text in its place and returns what to generate there."""

    def declarations(self, layout: Layout) -> list[str]:
        """Behind the declaration of `struct phv`."""
        return []

    def state(self, state: ParserState) -> list[str]:
        """At a parser state's start."""
        return []

    def extracted(self, op: ParserOp, length: str) -> list[str]:
        """Behind an extraction of `length` bytes at `d`, before `d` and a stack's `next` move on."""
        return []

    def selecting(self, state: ParserState) -> list[str]:
        """Behind the computation of the keys `k0`, `k1`, … of a select."""
        return []

    def parsed(self) -> list[str]:
        """Where parsing ends, with the parser's `error`."""
        return []

    def parser_op(self, op: ParserOp, lines: list[str]) -> list[str]:
        """A step of a parser state."""
        return lines

    def control(self, name: str) -> list[str]:
        """At a pipeline's start."""
        return []

    def condition(self, item: Conditional, text: str) -> str:
        """The condition of an `if` of a control, as a C expression."""
        return text

    def table(self, table: Table, layout: TableLayout) -> list[str]:
        """Behind a table's lookup: `t`, `key` (of a table with keys), the entry `e` or NULL, `action` and `data`; in
        an indirect table the `member` or NULL."""
        return []

    def only_action(self, table: Table, action: Action, data: str) -> list[str]:
        """Where a table that can do one thing only does it, without a lookup; `data` is C text for its data."""
        return []

    def primitive(self, primitive: Primitive, action: Action | None, lines: list[str]) -> list[str]:
        """A statement of an action (or, without one, of the deparser) that does not jump."""
        return lines

    def verified(self) -> list[str]:
        """Behind the verification of checksums, with its result `bad`."""
        return []

    def checksum(self, checksum: Checksum, lines: list[str]) -> list[str]:
        """The update of a checksum."""
        return lines

    def emitted(self, header: str) -> list[str]:
        """Where a valid header is emitted."""
        return []
