"""What pydantic finds wrong in something that came from outside, in words: `field: expected ..., got ...`."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails


def faults(error: ValidationError, whole: str, *, quoted: bool = True) -> str:
    """Every fault, in one line. `whole` names the thing itself, for a fault that is of no field of it.

    Not `quoted`, it shows no value: for what may hold secrets, or is long.
    """
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or whole}: {expectation(fault, quoted=quoted)}"
        for fault in error.errors(include_url=False)
    )


def expectation(fault: ErrorDetails, *, quoted: bool = True) -> str:
    """One fault as what was expected and, `quoted`, what stands there."""
    context = fault.get("ctx", {})
    given = fault["input"]
    got = f", got {_brief(given)}" if quoted else ""
    match fault["type"]:
        case "missing":
            return "expected, but missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "unknown field"
        case "value_error":
            return f"{context['error']}" + ("" if isinstance(given, dict) else got)
        case "literal_error" | "enum":
            return f"expected {context['expected']}{got}"
        case "string_pattern_mismatch":
            return f"expected text like {context['pattern']}{got}"
        case "json_invalid":
            return f"expected JSON, but {context['error']}"
        case _:
            return f"expected {fault['msg'].removeprefix('Input should be ').removeprefix('expected ')}{got}"


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
