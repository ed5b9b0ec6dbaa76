"""Builds the native host, `python -m hitless.wasm.build`, once for each content and each version of the engine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hitless.runtime import slots
from hitless.wasm import bindings
from hitless.wire import worker_codec, worker_frames

SOURCES = Path(__file__).parent / "host"
BUILT = Path(__file__).parent / "build"
"""Beside the sources, where components may read."""
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing")


class NotBuilt(RuntimeError):
    """There is no native host; says why and what to do."""


def program() -> Path:
    """The host as it was built for what is installed. Raises NotBuilt, EngineMissing."""
    found = BUILT / f"host-{digest()}"
    if not found.exists():
        raise NotBuilt(
            f"{found} is not there: run `make setup`, or {sys.executable} -m hitless.wasm.build as the user to whom"
            f" {BUILT.parent} belongs"
        )
    return found


def build() -> Path:
    """The host, built if it is not there. Raises NotBuilt, EngineMissing, OSError."""
    wanted = BUILT / f"host-{digest()}"
    if wanted.exists():
        return wanted
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotBuilt("there is no C compiler: apt install gcc libc6-dev")
    sources = sorted(SOURCES.glob("*.c"))
    header, code = bindings.declarations("".join(path.read_text() for path in sources))
    BUILT.mkdir(exist_ok=True)
    BUILT.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=BUILT) as name:
        scratch = Path(name)
        (scratch / "libwasmtime.h").write_text(header)
        (scratch / "libwasmtime.c").write_text(code)
        (scratch / "protocol.h").write_text(protocol())
        done = subprocess.run(
            [
                *(compiler, *FLAGS, f"-I{scratch}", f"-I{SOURCES}"),
                *map(str, (*sources, scratch / "libwasmtime.c")),
                *("-o", str(scratch / "host"), "-ldl"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotBuilt(f"{compiler} cannot build the host:\n{done.stderr.strip()[:4000]}")
        (scratch / "host").chmod(0o755)  # components run it as users of their own, whatever the umask here
        (scratch / "host").replace(wanted)
    for old in BUILT.glob("host-*"):
        if old != wanted:
            old.unlink(missing_ok=True)
    return wanted


def digest() -> str:
    """What the host is made of. Raises EngineMissing."""
    made_of = hashlib.sha256(f"{bindings.version()} {protocol()}".encode())
    for path in (*sorted(SOURCES.iterdir()), Path(bindings.__file__), Path(__file__)):
        made_of.update(path.name.encode() + path.read_bytes())
    return made_of.hexdigest()[:16]


def protocol() -> str:
    """What the host knows of the worker protocol and of its supervisor's memory, as C."""
    numbers = {
        "VERSION": worker_frames.VERSION,
        "MAX_FRAME": worker_frames.MAX_FRAME,
        "WHOLE": worker_frames.WHOLE,
        "PART": worker_frames.PART,
        **{f"FRAME_{kind.name}": kind.value for kind in worker_codec.FrameType},
        "BODY_FOLLOWS": worker_codec.STREAMED,
        "BODY_IS_EVENT": worker_codec.INVOKED,
        "SLOT_SIZE": slots.SIZE,
        "SLOT_ANSWERS": slots.ANSWERS_AT,
        "SLOT_TOLD": slots.TOLD_AT,
        "SLOT_ASKED": slots.ASKED_AT,
    }
    return "#pragma once\n" + "".join(f"#define {name} {value}\n" for name, value in numbers.items())


if __name__ == "__main__":
    try:
        print(f"setup: {build()} is ready")
    except (NotBuilt, bindings.EngineMissing, OSError) as error:
        sys.exit(f"setup: {error}")
