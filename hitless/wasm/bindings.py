"""C declarations of the engine's library, from the bindings for Python in the same wheel, which brings no headers.

The bindings are generated where the library is built, so that what they say of it is true of that version alone; the
library's build id stands beside the declarations, and the program does not start with another one.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHEEL = "wasmtime"
_NAMES = re.compile(r"\b(?:wasm|wasi|wasmtime)_\w+(?=\()")
_BUILD_ID = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)
"""An ELF note of 20 bytes that the linker writes (NT_GNU_BUILD_ID)."""
_CONSTANTS = re.compile(r"WASMTIME_(?:I32|I64|EXTERN_FUNC|EXTERN_MEMORY)")
_FUNCTION: Any = ctypes.CFUNCTYPE(None).__base__
_SCALARS: dict[Any, str] = {
    None: "void",
    ctypes.c_bool: "bool",
    ctypes.c_char: "char",
    ctypes.c_void_p: "void *",
    ctypes.c_float: "float",
    ctypes.c_double: "double",
}


class EngineMissing(RuntimeError):
    """There is no engine, or one that its bindings do not describe. Says what to do."""


def version() -> str:
    """The engine's. Raises EngineMissing."""
    try:
        return importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise EngineMissing(
            "the WebAssembly engine is not installed: run `make setup`, or pip install hitless"
        ) from None


def library() -> Path:
    """The engine's library. Raises EngineMissing."""
    spec = importlib.util.find_spec(WHEEL)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for found in Path(folder).glob("linux-*/_libwasmtime.so"):
            return found
    raise EngineMissing(f"the package {WHEEL} with its library for this machine is not installed: run `make setup`")


def declarations(sources: str) -> tuple[str, str]:
    """A header and a C file that declare what of the library is called in these sources. Raises EngineMissing."""
    from wasmtime import _bindings, _ffi

    wanted = sorted(name for name in set(_NAMES.findall(sources)) if hasattr(_bindings, f"_{name}"))
    prototypes = [(name, getattr(_bindings, f"_{name}")) for name in wanted]
    writer = _Writer()
    pointers = [writer.function(found.restype, found.argtypes, f"(*{name})") for name, found in prototypes]
    constants = {name: one.value for name, one in vars(_ffi).items() if _CONSTANTS.fullmatch(name)}
    constants |= {one.name: one.value for one in _bindings.wasmtime_trap_code_enum}
    note = _BUILD_ID.search(library().read_bytes()[:65536])
    if note is None:
        raise EngineMissing(f"{library()} has no build id: install {WHEEL} from its wheel")
    header = [
        "// Generated from the bindings of the engine's wheel (hitless/wasm/bindings.py).",
        "#pragma once",
        "#include <stdbool.h>",
        "#include <stddef.h>",
        "#include <stdint.h>",
        f'#define ENGINE_VERSION "{version()}"',
        *(f"#define {name} {value}" for name, value in constants.items()),
        *writer.types(),
        *(f"extern {one};" for one in pointers),
        "struct engine_symbol {const char *name; void **address;};",
        "extern const struct engine_symbol engine_symbols[];",
        "extern const unsigned char engine_build_id[20];",
    ]
    code = [
        '#include "libwasmtime.h"',
        *(f"{one};" for one in pointers),
        "const struct engine_symbol engine_symbols[] = {",
        *(f'  {{"{name}", (void **)&{name}}},' for name in wanted),
        "  {NULL, NULL}};",
        f"const unsigned char engine_build_id[20] = {{{', '.join(str(one) for one in note[1])}}};",
    ]
    return "\n".join(header) + "\n", "\n".join(code) + "\n"


class _Writer:
    """Turns ctypes' types into C's."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def function(self, result: Any, arguments: Any, name: str) -> str:
        """A function's declaration."""
        given = ", ".join(self._spelled(one, argument=True) for one in arguments) or "void"
        return f"{self._spelled(result)} {name}({given})"

    def types(self) -> Iterator[str]:
        """The structures that have been met, each behind what it consists of."""
        names = list(self._known)
        yield from (f"typedef struct {name} {name if name.endswith('_t') else name + '_t'};" for name in names)
        done: set[str] = set()
        for name in names:
            yield from self._definition(self._known[name], done)

    def _definition(self, kind: Any, done: set[str]) -> Iterator[str]:
        if kind.__name__ in done or not hasattr(kind, "_fields_"):
            return
        done.add(kind.__name__)
        lines = []
        for name, declared in kind._fields_:
            field, length = declared, ""
            while issubclass(field, ctypes.Array):
                length, field = f"{length}[{field._length_}]", field._type_
            if issubclass(field, (ctypes.Structure, ctypes.Union)):
                yield from self._definition(field, done)
            lines.append(f"  {self._spelled(field)} {name}{length};")
        yield "\n".join([f"{_keyword(kind)} {kind.__name__} {{", *lines, "};"])

    def _spelled(self, kind: Any, *, argument: bool = False) -> str:
        if kind in _SCALARS:
            return _SCALARS[kind]
        if issubclass(kind, ctypes._SimpleCData):
            signed = kind(-1).value < 0
            return f"{'' if signed else 'u'}int{8 * ctypes.sizeof(kind)}_t"
        if issubclass(kind, _FUNCTION):
            given = ", ".join(self._spelled(one) for one in kind._argtypes_) or "void"
            return f"__typeof__({self._spelled(kind._restype_)} (*)({given}))"
        if issubclass(kind, ctypes._Pointer):
            pointed = kind._type_
            constant = argument and pointed in (ctypes.c_char, ctypes.c_ubyte)
            return (
                f"{'const ' if constant or pointed is ctypes.POINTER(ctypes.c_char) else ''}{self._spelled(pointed)} *"
            )
        if not issubclass(kind, ctypes.Union):
            self._known.setdefault(kind.__name__, kind)
        return f"{_keyword(kind)} {kind.__name__}"


def _keyword(kind: Any) -> str:
    return "union" if issubclass(kind, ctypes.Union) else "struct"
