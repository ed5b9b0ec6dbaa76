"""Compile the steering program and record its sources: `python -m p4src.build`. `p4src.words` goes first.

Everything under `compiled/` is committed, so that nobody needs p4c to run the program. p4c is given paths relative to
the repository, since it writes them into its output.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from p4src import words

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path("p4src/steering.p4")
COMPILED = Path("p4src/compiled")
PIPELINE = COMPILED / "steering.json"
P4INFO = COMPILED / "steering.p4info.txtpb"
DIGESTS = COMPILED / "sources.sha256"
"""`sha256sum` of sources and artefacts, so `sha256sum -c` checks it; the first line names the compiler."""

COMPILER = "p4c-bm2-ss"
HOW_TO_GET_P4C = f"""{COMPILER} is not installed: the committed artefacts in {COMPILED}/ stay as they are.
To change the program you need p4c (https://github.com/p4lang/p4c):
  Ubuntu and Debian packages: https://software.opensuse.org/download.html?project=home%3Ap4lang&package=p4lang-p4c
  in a virtual machine:       vagrant up (the Vagrantfile here installs it)
  from source:                the back end is enough; in p4c's cmake: -DENABLE_BMV2=ON, and OFF for the other back ends
Then run `make p4` again."""


class BuildError(Exception):
    """The compiler is missing or refused the program; the message says what to do."""


def sources(root: Path = ROOT) -> list[Path]:
    """The P4 files, relative to `root`, in a fixed order."""
    return sorted(path.relative_to(root) for path in (root / PROGRAM).parent.glob("*.p4"))


def digests(root: Path = ROOT) -> dict[str, str]:
    """SHA-256 in hexadecimal of each source and artefact, by its path relative to `root`."""
    return {
        str(path): hashlib.sha256((root / path).read_bytes()).hexdigest() for path in [*sources(root), PIPELINE, P4INFO]
    }


def recorded(root: Path = ROOT) -> tuple[str, dict[str, str]]:
    """The compiler that made the artefacts, and the digests as they were then."""
    first, *rest = (root / DIGESTS).read_text().splitlines()
    return first.removeprefix("# "), {path: digest for digest, _, path in (line.partition("  ") for line in rest)}


def compiler_version() -> str | None:
    """Name and version of the p4c here, or None."""
    if shutil.which(COMPILER) is None:
        return None
    told = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
    return f"{COMPILER} {found.group() if found else 'of unknown version'}"


def compile_program(root: Path = ROOT, *, warnings: bool = False) -> tuple[str, str]:
    """The pipeline (BMv2's JSON, compact) and the P4Info (text protobuf) of the sources under `root`.

    Raises BuildError if p4c is missing, or refuses the program, or unless `warnings` are fine finds anything to say.
    """
    if shutil.which(COMPILER) is None:
        raise BuildError(HOW_TO_GET_P4C)
    with tempfile.TemporaryDirectory(prefix="p4c-") as scratch:
        pipeline, p4info = Path(scratch) / PIPELINE.name, Path(scratch) / P4INFO.name
        command = [COMPILER, "--std", "p4-16", "--arch", "v1model"]
        command += [] if warnings else ["--Werror"]
        command += ["-o", str(pipeline), "--p4runtime-files", str(p4info), str(PROGRAM)]
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise BuildError(f"{' '.join(command)} failed:\n{run.stdout}{run.stderr}")
        return json.dumps(json.loads(pipeline.read_text()), separators=(",", ":")) + "\n", p4info.read_text()


def main() -> None:
    """Rewrite what is generated from the sources, the artefacts and their digests."""
    words.main()
    try:
        pipeline, p4info = compile_program()
    except BuildError as error:
        sys.exit(str(error))
    (ROOT / COMPILED).mkdir(exist_ok=True)
    (ROOT / PIPELINE).write_text(pipeline)
    (ROOT / P4INFO).write_text(p4info)
    lines = [f"{digest}  {path}" for path, digest in digests().items()]
    (ROOT / DIGESTS).write_text("\n".join([f"# {compiler_version()}", *lines]) + "\n")
    print(f"{PIPELINE}, {P4INFO}: compiled from {len(sources())} sources by {compiler_version()}")


if __name__ == "__main__":
    main()
