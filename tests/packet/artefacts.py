"""The compiled program under test: the committed one, or the one in the folder that ARTEFACTS names.

That one may be able to run without one of its guards (`tests/mutation`): GUARD says which.
"""

from __future__ import annotations

import os
from pathlib import Path

from p4src import build

FOLDER = Path(os.environ.get("ARTEFACTS", build.ROOT / build.COMPILED))
PIPELINE = FOLDER / build.PIPELINE.name
P4INFO = FOLDER / build.P4INFO.name
GUARD = int(os.environ.get("GUARD", "0"))
"""The number to write to the register MUTANT; 0: the program is whole."""
MUTANT = "reg_mutant"
