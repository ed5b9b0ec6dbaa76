// The engine's settings, its errors in words, and the clock that interrupts a call.
#pragma once
#include "library.h"
#include "module.h"

// The engine, whose settings belong to what it has compiled. Ends the program with the reason if it cannot be made.
wasm_engine_t *engine_new(size_t memory);

// The first line of what went wrong, into `text`; releases the error or the trap.
void error_text(wasmtime_error_t *error, char *text, size_t size);
void trap_text(wasm_trap_t *trap, char *text, size_t size);

uint64_t now_ns(void);

// Between these the engine is interrupted at the deadline: the store's epoch deadline is to be 1 from now.
void clock_start(wasm_engine_t *engine, uint64_t deadline_ns);
void clock_stop(void);
