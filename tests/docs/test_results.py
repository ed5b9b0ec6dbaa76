"""What is published of experiments is what its raw rows say."""

import json
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from experiments.detection import rows, table
from experiments.failures import judge as failures
from experiments.failures import page as failures_page
from experiments.failures import rows as failures_rows

DETECTION = Path(__file__).parents[2] / "docs" / "results" / "detection"


def printed(*parts: RenderableType) -> str:
    """As the command prints it, in 80 columns."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=table.WIDTH, file=nowhere, record=True, highlight=False, markup=False)
        for part in parts:
            console.print(part)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def test_the_tables_of_the_detection_page_are_those_of_its_figures() -> None:
    page = (DETECTION / "README.md").read_text()
    own = json.loads((DETECTION / "summary.json").read_text())
    alone = json.loads((DETECTION / "alone" / "summary.json").read_text())
    replayed = json.loads((DETECTION / "replay.json").read_text())
    assert printed(table.kinds_table("default", own["variants"]["default"])) in page
    assert printed(table.variants_table(own["variants"]), table.verdict(own)) in page
    assert printed(table.variants_table(alone["variants"]), table.verdict(alone)) in page
    assert printed(table.replayed_table(replayed)) in page


@pytest.mark.parametrize("folder", [DETECTION, DETECTION / "alone"])
def test_the_figures_are_of_the_runs_and_rests_that_are_published(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    found = [json.loads(line) for line in (folder / rows.ROWS).read_text().splitlines()]
    assert [(one["number"], one["kind"]) for one in summary["runs"]] == [
        (one["number"], one["kind"]) for one in found if one["row"] == "run"
    ]
    rested = sum(one["ended_ns"] - one["began_ns"] for one in found if one["row"] == "rest") / 3.6e12
    told = sum(load["hours"] for variant in summary["variants"].values() for load in variant["rest"].values())
    assert told == pytest.approx(rested, abs=1e-3)


def test_each_published_failures_page_says_what_its_rows_say() -> None:
    for folder in (file.parent for file in DETECTION.parent.glob(f"*/{failures_rows.FAULTS}")):
        told, summary = (folder / failures_page.PAGE).read_text(), failures.summarise(failures_rows.read(folder))
        assert json.loads((folder / failures_page.SUMMARY).read_text()) == summary
        for part in failures_page.parts(summary):
            assert failures_page.printed(part) in told
