"""What a WebAssembly function is refused for before it serves, and what it reaches of its node."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from wasmtime import wat2wasm

from hitless.wasm.__main__ import KEPT, main
from hitless.wasm.build import build
from tests.hitless.wasm.modules import ECHO, module, running

IMPORTS = '(module (import "env" "system" (func (param i32) (result i32))) (func (export "_start")))'
LARGE = '(module (memory (export "memory") 2000) (func (export "_start")))'
NO_ENTRY = '(module (func (export "main")))'


def refused(folder: Path, name: str, *options: str) -> str:
    """What a module says that does not start."""
    build()
    variables = {"HITLESS_GATEWAY": "/nowhere", "HITLESS_MEMORY_MB": "256", "HOME": str(folder / "home")}
    done = CliRunner().invoke(main, [name, "--artifacts", str(folder), *options], env=variables)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    return done.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            IMPORTS,
            "it imports env.system, which is not granted: expected functions of wasi_snapshot_preview1 and hitless",
        ),
        (LARGE, "exceeds the limit of"),
        (NO_ENTRY, "it has no entry: expected a command's `_start`, or a reactor's `handle`, `allocate` and `memory`"),
    ],
)
def test_a_module_that_cannot_be_run_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    said = refused(tmp_path, module(tmp_path, text))
    assert reason in said and "function.wasm" in said


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh")
    assert "it is no WebAssembly: expected a module" in refused(tmp_path, "text")
    (tmp_path / "component").write_bytes(b"\0asm\x0d\0\x01\0")
    assert "expected a core module of version 1" in refused(tmp_path, "component")
    assert "No such file" in refused(tmp_path, "nothing")
    (tmp_path / "damaged").write_bytes(wat2wasm(ECHO)[:60])
    assert "damaged: " in refused(tmp_path, "damaged")


def test_options_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    name = module(tmp_path, ECHO)
    assert "is more than the 256 MB of the component" in refused(tmp_path, name, "--memory-mb", "300")
    assert "is no folder" in refused(tmp_path, name, "--read", "/nowhere")
    assert "there is none of that name" in refused(tmp_path, name, "--variable", "NOT_THERE")
    assert "change what was compiled of it" in refused(tmp_path, name, "--write", str(tmp_path))


def test_what_was_compiled_serves_again_and_by_the_same_engine_alone(tmp_path: Path) -> None:
    with running(tmp_path, ECHO):
        pass
    (kept,) = (tmp_path / "home" / KEPT).iterdir()
    inode = kept.stat().st_ino
    with running(tmp_path, ECHO) as runtime:
        assert runtime.worker.call(b"a").body == b"1a"
    assert kept.stat().st_ino == inode
    image = kept.read_bytes()
    own, other = (b"\x02%d\x18x86_64" % major for major in (50, 49))
    assert image.count(own) == 1
    (tmp_path / "other.cwasm").write_bytes(image.replace(own, other))
    said = refused(tmp_path, "other.cwasm")
    assert "other.cwasm: it cannot be run by wasmtime 50.0.1: " in said and "incompatible version '49'" in said


FILES = """(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "allocate") (param i32) (result i32) i32.const 1024)
  (func (export "handle") (param $at i32) (param $size i32) (result i64)
    (i32.store8 (i32.const 512) (call $open (i32.const 3) (i32.const 0)
      (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $size) (i32.const 1))
      (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))
      (i64.add (i64.const 2)
        (i64.mul (i64.const 64) (i64.sub (i64.load8_u (local.get $at)) (i64.const 48))))
      (i64.const 0) (i32.const 0) (i32.const 600)))
    (drop (call $environ (i32.const 520) (i32.const 524)))
    (i32.store8 (i32.const 513) (i32.load (i32.const 520)))
    (i64.const 2199023255554)))"""
"""Opens a file below its first folder, to create it if the name is behind a 1 in place of a 0; answers with WASI's
error, and with how many variables it has."""
DONE, BAD_DESCRIPTOR, NOT_PERMITTED = 0, 8, 63
"""Of WASI's errno."""


def test_nothing_of_the_node_is_reached_but_what_is_granted(tmp_path: Path) -> None:
    for folder in ("library", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "here").touch()
    with running(tmp_path, FILES) as runtime:
        assert runtime.worker.call(b"0here").body == bytes([BAD_DESCRIPTOR, 0])
    with running(tmp_path, FILES, "--read", "library:/", "--variable", "HITLESS_NODE", "--variable", "A=b") as runtime:
        assert runtime.worker.call(b"0here").body == bytes([DONE, 2])
        assert runtime.worker.call(b"0../data/here").body == bytes([NOT_PERMITTED, 2])
        assert runtime.worker.call(b"1there").body[0] != DONE
    with running(tmp_path, FILES, "--write", "data") as runtime:
        assert runtime.worker.call(b"1there").body == bytes([DONE, 0])
    assert sorted(path.name for path in tmp_path.glob("*/there")) == ["there"]
