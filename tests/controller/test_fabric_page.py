"""docs/fabric.md is what the schema says, and says something of every field."""

from pathlib import Path

from controller.fabric.document import PAGE, page
from hitless.steering.policies import POLICIES

ROOT = Path(__file__).parents[2]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_committed_page_is_what_the_schema_says() -> None:
    assert (ROOT / PAGE).read_text() == page(), "run `make docs` and commit what it wrote"


def test_every_field_has_a_type_a_default_and_a_meaning() -> None:
    for name, kind, _, default, meaning in rows(page()):
        assert kind, name
        assert default, name
        assert meaning, name


def test_every_policy_has_a_section_with_its_fields_in_the_files_units() -> None:
    text = page()
    assert [line for line in text.splitlines() if line.startswith("### ")] == [f"### `{one.name}`" for one in POLICIES]
    assert ["`dwell_ms`", "0 to 86400000", "ms", "`3000`", "Between two moves for load."] in rows(text)
    assert any(row[:4] == ["`load_penalty`", "left shift, 0 to 16, or off", "", "`off`"] for row in rows(text))
