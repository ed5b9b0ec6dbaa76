"""Runs the C compiler, once for each content: results are kept under a name that is a digest of all that went in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

RUNTIME = Path(__file__).parents[1] / "runtime"
WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-label")
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-fno-strict-aliasing", "-pthread", *WARNINGS)


class CompilerMissing(RuntimeError):
    """No working C compiler: says what to install."""


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/softswitch`, or `~/.cache/softswitch`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "softswitch"


class Compiler:
    """Makes shared libraries. `flags` come after the standard ones (a test adds sanitizers)."""

    def __init__(self, cache_dir: Path | None = None, flags: tuple[str, ...] = ()) -> None:
        self.cache_dir = cache_dir or default_cache_dir()
        self.flags = (*FLAGS, *flags)
        self.command = os.environ.get("CC", "gcc")
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def runtime(self) -> Path:
        """The library of everything that does not depend on the program."""
        sources = sorted(RUNTIME.glob("*.c"))
        return self._build("runtime", [*map(str, sources)], self._digest("runtime", ""))

    def program(self, text: str, quick: bool = False) -> Path:
        """The library of one generated program; `quick` to compile rather than to run."""
        optimization = ("-O0",) if quick else ()
        digest = self._digest("quick" if quick else "program", text)
        source = self.cache_dir / f"program-{digest}.c"
        if not source.exists():
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            self._replace(source, text.encode())
        return self._build("program", [*optimization, str(source)], digest)

    def stop(self) -> None:
        """End the compilers that run; compiling fails from now on."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _run(self, command: list[str]) -> tuple[int, str]:
        """Run a compiler, with what it starts in a group of its own. Returns its exit code and what it says."""
        with self._lock:
            if self._stopped:
                raise CompilerMissing("no program is compiled any more: the switch is stopping")
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
            )
            self._processes.add(process)
        try:
            _, errors = process.communicate()
        finally:
            with self._lock:
                self._processes.discard(process)
        return process.returncode, errors

    def _digest(self, kind: str, text: str) -> str:
        digest = hashlib.sha256()
        for part in (kind, self.command, *self.flags, text):
            digest.update(part.encode() + b"\0")
        for path in sorted(RUNTIME.iterdir()):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()[:24]

    def _replace(self, path: Path, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)

    def _build(self, kind: str, sources: list[str], digest: str) -> Path:
        library = self.cache_dir / f"{kind}-{digest}.so"
        if library.exists():
            return library
        compiler = shutil.which(self.command)
        if compiler is None:
            raise CompilerMissing(
                f"softswitch compiles P4 programs with {self.command}, which is not installed:"
                " apt install gcc libc6-dev, or name another compiler in CC"
            )
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache_dir) as scratch:
            output = Path(scratch) / "out.so"
            status, errors = self._run([compiler, *self.flags, f"-I{RUNTIME}", *sources, "-o", str(output), "-ldl"])
            if status:
                raise CompilerMissing(f"{compiler} failed on {', '.join(sources)}:\n{errors.strip()[:4000]}")
            output.replace(library)
        return library
