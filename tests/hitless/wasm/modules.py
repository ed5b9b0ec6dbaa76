"""Functions in WebAssembly's text format, and the runtime that serves them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wasmtime import wat2wasm

from hitless.wasm.build import build
from tests.hitless.gateway import Runtime, listening, served, start_module

ECHO = """(module
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))
  (func (export "allocate") (param i32) (result i32) i32.const 1024)
  (func (export "handle") (param $at i32) (param $size i32) (result i64)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 1023) (i32.add (i32.const 48) (global.get $calls)))
    (i64.or (i64.const 4393751543808) (i64.extend_i32_u (i32.add (local.get $size) (i32.const 1))))))"""
"""A reactor: answers with the number of its calls, and what it was sent. 4393751543808 is 1023 << 32."""

COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 4096))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
    (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 33)) (then (call $exit (i32.const 3))))))"""
"""A command: its input is its output; with an exclamation mark at the beginning it exits with 3."""

HOSTILE = """(module
  (memory (export "memory") 1)
  (func (export "allocate") (param i32) (result i32) i32.const 1024)
  (func $again (result i32) (i32.add (call $again) (i32.const 1)))
  (func (export "handle") (param $at i32) (param $size i32) (result i64)
    (local $what i32)
    (local.set $what (i32.load8_u (local.get $at)))
    (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $for (br $for))))
    (if (i32.eq (local.get $what) (i32.const 103))
      (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
    (if (i32.eq (local.get $what) (i32.const 114)) (then (drop (call $again))))
    (if (i32.eq (local.get $what) (i32.const 111)) (then (drop (i32.load (i32.const 0x7fffffff)))))
    (if (i32.eq (local.get $what) (i32.const 97)) (then (return (i64.const -1))))
    (i64.or (i64.const 4398046511104) (i64.extend_i32_u (local.get $size)))))"""
"""By the first letter of what it is sent it loops, grows, recurses, reads out of bounds, or answers with what it has
not; anything else is its answer."""


def module(folder: Path, text: str, name: str = "function.wasm") -> str:
    """Put a module into a folder; its name."""
    (folder / name).write_bytes(wat2wasm(text))
    return name


def start_wasm(name: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a module of a folder, which is the function's HOME, too."""
    build()
    return start_module(
        "hitless.wasm", folder / "gateway", name, "--artifacts", str(folder), *options, HOME=str(folder / "home")
    )


@contextmanager
def running(folder: Path, text: str, *options: str) -> Iterator[Runtime]:
    """A module whose worker is warm."""
    name = module(folder, text)
    (folder / "gateway").unlink(missing_ok=True)
    with listening(folder / "gateway") as listener, served(start_wasm(name, folder, *options), listener) as runtime:
        yield runtime
