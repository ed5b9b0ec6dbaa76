"""What is published of experiments is what its raw rows say."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from experiments.cli import main
from experiments.congestion import judge as congestion
from experiments.congestion import rows as congestion_rows
from experiments.congestion import table as congestion_table
from experiments.connections import judge as connections
from experiments.connections import rows as connections_rows
from experiments.connections import table as connections_table
from experiments.detection import rows, table
from experiments.failures import judge as failures
from experiments.failures import page as failures_page
from experiments.failures import rows as failures_rows
from experiments.moves import page as migration_page
from experiments.moves import picture as migration_picture
from experiments.moves import reduced as migration_rows
from experiments.moves.rows import RUN as MIGRATION_RUN
from experiments.scenario import WIDTH
from tests.experiments.moves_rows import a_run

RESULTS = Path(__file__).parents[2] / "docs" / "results"
DETECTION = RESULTS / "detection"


def printed(*parts: RenderableType) -> str:
    """As the command prints it, in 80 columns."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=WIDTH, file=nowhere, record=True, highlight=False, markup=False)
        for part in parts:
            console.print(part)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def test_the_tables_of_the_detection_page_are_those_of_its_figures() -> None:
    page = (DETECTION / "README.md").read_text()
    own = json.loads((DETECTION / "summary.json").read_text())
    alone = json.loads((DETECTION / "alone" / "summary.json").read_text())
    earlier = json.loads((DETECTION / "earlier" / "summary.json").read_text())
    replayed = json.loads((DETECTION / "replay.json").read_text())
    assert printed(table.kinds_table("default", own["variants"]["default"])) in page
    assert printed(table.variants_table(own["variants"]), table.verdict(own)) in page
    assert printed(table.variants_table(alone["variants"]), table.verdict(alone)) in page
    assert printed(table.variants_table(earlier["variants"]), table.verdict(earlier)) in page
    assert printed(table.replayed_table(replayed)) in page


@pytest.mark.parametrize("folder", [DETECTION, DETECTION / "earlier", DETECTION / "alone"])
def test_the_figures_are_of_the_runs_and_rests_that_are_published(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    found = [json.loads(line) for line in (folder / rows.ROWS).read_text().splitlines()]
    assert [(one["number"], one["kind"]) for one in summary["runs"]] == [
        (one["number"], one["kind"]) for one in found if one["row"] == "run"
    ]
    rested = sum(one["ended_ns"] - one["began_ns"] for one in found if one["row"] == "rest") / 3.6e12
    told = sum(load["hours"] for variant in summary["variants"].values() for load in variant["rest"].values())
    assert told == pytest.approx(rested, abs=1e-3)


def test_a_published_connections_page_says_what_its_raw_rows_say() -> None:
    folder = RESULTS / "connections"
    if folder.exists():
        page, summary = (folder / "README.md").read_text(), connections.summarise(connections_rows.read(folder))
        assert json.loads((folder / "summary.json").read_text()) == summary
        assert printed(connections_table.connections_table(summary["ways"])) in page
        assert printed(connections_table.times_table(summary["ways"])) in page


def test_each_published_congestion_page_says_what_its_raw_rows_say() -> None:
    for folder in (file.parent for file in RESULTS.glob(f"*/{congestion_rows.QUEUES}")):
        page, summary = (folder / "README.md").read_text(), congestion.summarise(congestion_rows.read(folder))
        assert json.loads((folder / "summary.json").read_text()) == summary
        assert printed(congestion_table.latency_table(summary["ways"])) in page
        assert printed(congestion_table.area_table(summary["ways"])) in page
        assert printed(congestion_table.requests_table(summary["ways"])) in page
        assert printed(congestion_table.verdict(summary)) in page


def check_migration_page(folder: Path, scratch: Path) -> None:
    """A page says what its rows say: each figure, each table, and the picture to the last dot."""
    scratch.mkdir()
    for name in (MIGRATION_RUN, *migration_rows.FILES):
        shutil.copyfile(folder / name, scratch / name)
    page, summary = (folder / migration_page.PAGE).read_text(), migration_page.judged(scratch)
    assert json.loads((folder / migration_page.SUMMARY).read_text()) == summary
    assert not summary["invalid"]
    for part in migration_page.parts(summary):
        assert migration_page.printed(part) in page
    drawn = f"{migration_picture.NAME}.svg"
    assert (folder / drawn).read_text() == (scratch / drawn).read_text()


def test_each_published_migration_page_says_what_its_rows_say(tmp_path: Path) -> None:
    for folder in (file.parent for file in RESULTS.glob(f"*/{migration_rows.MOVES}")):
        check_migration_page(folder, tmp_path / folder.name)


def test_a_migration_page_is_made_of_a_runs_rows(tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "page"
    a_run(run, ["in-network", "route"])
    done = CliRunner().invoke(main, ["migration", "--from", str(run), "--publish", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    check_migration_page(folder, tmp_path / "same")
    hashes = dict(reversed(line.split()) for line in (folder / migration_rows.MANIFEST).read_text().splitlines())
    raw = [file for file in run.glob("*/*.csv") if file.is_file()]
    assert hashes == {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in raw}
    summary = json.loads((folder / migration_page.SUMMARY).read_text())
    summary["ways"]["route"]["lost"] += 1
    (folder / migration_page.SUMMARY).write_text(json.dumps(summary))
    with pytest.raises(AssertionError):
        check_migration_page(folder, tmp_path / "other")


def test_each_published_failures_page_says_what_its_rows_say() -> None:
    for folder in (file.parent for file in RESULTS.glob(f"*/{failures_rows.FAULTS}")):
        told, summary = (folder / failures_page.PAGE).read_text(), failures.summarise(failures_rows.read(folder))
        assert json.loads((folder / failures_page.SUMMARY).read_text()) == summary
        for part in failures_page.parts(summary):
            assert failures_page.printed(part) in told
