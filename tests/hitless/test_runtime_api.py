"""Lambda's Runtime API: functions that are programs of their own, in any language, behind the worker protocol."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hitless.wire.worker_frames import HttpHead
from tests.hitless.gateway import Runtime, runtime

BOOTSTRAPS = Path(__file__).parent / "bootstraps"


@contextmanager
def function(folder: Path, bootstrap: str, handler: str = "function.handler") -> Iterator[Runtime]:
    """A function of this bootstrap's text, warm."""
    (folder / "bootstrap").write_text(bootstrap)
    (folder / "bootstrap").chmod(0o755)
    with runtime(handler, folder, folder, "--bootstrap", "bootstrap") as running:
        yield running


def test_the_shell_script_of_the_tutorial(tmp_path: Path) -> None:
    (tmp_path / "function.sh").write_text(
        'function handler () {\n  EVENT_DATA=$1\n  echo "$EVENT_DATA" 1>&2;\n  RESPONSE="Echoing request: \'$EVENT_DATA\'"\n'
        "  echo $RESPONSE\n}\n"
    )
    with function(tmp_path, (BOOTSTRAPS / "aws.sh").read_text()) as running:
        for path in ("/one", "/two"):
            answer = running.worker.call(http=HttpHead("GET", path))
            assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
            assert answer.body.startswith(b"Echoing request: '{") and f'"rawPath": "{path}"'.encode() in answer.body


def test_a_program_in_c(tmp_path: Path) -> None:
    source = BOOTSTRAPS / "reverse.c"
    compiled = ["gcc", "-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-o", str(tmp_path / "bootstrap"), str(source)]
    subprocess.run(compiled, check=True)
    with runtime("bootstrap", tmp_path, tmp_path, "--bootstrap", "bootstrap") as running:
        for said, heard in ((b"stressed", b"desserts"), (b"", b"")):
            answer = running.worker.call(said, http=HttpHead("POST", "/", headers={"content-type": "text/plain"}))
            assert (answer.status, answer.body, answer.headers["content-type"]) == (200, heard, "text/plain")
