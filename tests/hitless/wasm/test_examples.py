"""`hitless new` for WebAssembly: its functions are built from source, are components, and answer as they are made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.nodes.components import pack
from controller.operator import starting
from controller.operator.cli import main
from hitless.wire.worker_frames import HttpHead
from tests.hitless.gateway import listening, served
from tests.hitless.wasm.modules import start_wasm
from tests.patience import PATIENCE

NEEDS = {
    "wasm-c": ("clang", "/usr/include/wasm32-wasi"),
    "wasm-rust": ("/usr/bin/rustc", "/usr/lib/rustlib/wasm32-wasi"),
}


@pytest.mark.parametrize("language", starting.EVENTLESS)
def test_a_new_function_is_built_and_answers(tmp_path: Path, language: str) -> None:
    compiler, target = NEEDS[language]
    if shutil.which(compiler) is None or not Path(target).exists():
        pytest.skip(f"{compiler} for wasm32-wasi is not installed (`make setup` does it)")
    folder = tmp_path / "face-finder"
    said = CliRunner().invoke(main, ["new", str(folder), "--language", language, "--protocol", "udp"])
    assert said.exit_code == 0 and f"next: make -C {folder} && hitless deploy" in said.output
    subprocess.run(["make", "-s", "-C", folder], check=True, timeout=PATIENCE)
    component = pack(folder, "http://10.0.0.100:8080")
    (artifact,) = component.recipe.manifests[0].artifacts
    assert artifact.uri.endswith("/function.wasm")
    with listening(folder / "gateway") as listener, served(start_wasm("function.wasm", folder), listener) as runtime:
        for body, answer in ((b"Ada", b"hello Ada\n"), (b"", b"hello world\n")):
            found = runtime.worker.call(body, http=HttpHead("POST", "/"))
            assert (found.status, found.body, found.headers) == (200, answer, {"content-type": "text/plain"})
