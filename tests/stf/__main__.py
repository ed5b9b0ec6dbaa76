"""`make stf P4C=folder`: what becomes of each of p4c's samples."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.stf.samples import COMPILER, Failed, Uncompiled, compiled, play, samples


def main() -> int:
    """Prints what failed and the counts; 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.stf", description="plays p4c's STF samples")
    parser.add_argument("sources", type=Path, help="a checkout of https://github.com/p4lang/p4c")
    parser.add_argument("--only", default="", help="samples whose names have this in them")
    options = parser.parse_args()
    if shutil.which(COMPILER) is None:
        sys.exit(f"{COMPILER} is not installed: it compiles the samples")
    found = samples(options.sources)
    if not found:
        sys.exit(f"{options.sources} has no testdata/p4_16_samples/*.stf: name a checkout of p4c's sources")
    counts = {"passed": 0, "failed": 0, "not compiled": 0}
    with tempfile.TemporaryDirectory(prefix="stf-") as folder:
        for sample in (sample for sample in found if options.only in sample.name):
            try:
                made, info = compiled(sample, Path(folder))
                play(made, info, sample.with_suffix(".stf").read_text())
                counts["passed"] += 1
            except Uncompiled as error:
                counts["not compiled"] += 1
                print(f"not compiled  {sample.stem}: {error}")
            except Failed as error:
                counts["failed"] += 1
                print(f"FAILED        {sample.stem}: {error}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
