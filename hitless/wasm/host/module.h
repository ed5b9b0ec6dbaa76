// A WebAssembly module: compiled ahead of time, then called with an instance of its own for each call.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_FOLDERS 16
#define MAX_VARIABLES 64

// What of the host a module reaches.
struct grants {
  size_t memory;  // bytes of linear memory at most
  struct {
    const char *host, *guest;
    bool writable;
  } folders[MAX_FOLDERS];
  size_t folder_count;
  const char *names[MAX_VARIABLES], *values[MAX_VARIABLES];
  size_t variable_count;
};

struct bytes {
  const uint8_t *data;
  size_t size;
};

struct request {
  struct bytes body;
  struct bytes head;           // method, path, query, source, then names and values of fields: lines
  struct bytes configuration;  // the component's, as JSON
  uint64_t deadline_ns;        // CLOCK_MONOTONIC
};

struct answer {
  int status;
  struct bytes body;    // the module's own memory, until `module_done`
  struct bytes fields;  // names and values: lines
  const char *kind;     // what went wrong, NULL for nothing
  char failure[1024];   // in words
};

// Compiles a module, or takes one that this engine has compiled, tries that it can be instantiated, and keeps it in a
// file for `module_open`. Ends the program with the reason for what cannot be run.
void module_prepare(const char *path, const char *kept, const struct grants *grants);

// Opens what `module_prepare` has kept. Ends the program with the reason if that cannot be done.
void module_open(const char *kept, const struct grants *grants);

// Makes what the next call needs, as far as it does not depend on the request.
void module_ready(void);

// Executes a request. Never takes longer than its deadline, except in a system call.
void module_call(const struct request *request, struct answer *answer);

// Puts the instance of the last call away, with the answer's body.
void module_done(void);
