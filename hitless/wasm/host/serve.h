// A worker of the gateway, which executes one request at a time in the module that is open.
#pragma once
#include <stdint.h>

struct worker {
  const char *gateway, *handler, *function, *version, *launch;  // `function` is the component that errors name
  uint8_t *slot;                                                // shared with its supervisor (hitless/runtime/slots.py)
};

// Serves until the gateway says Shutdown, or SIGTERM comes; a gateway that is gone is waited for.
void serve(const struct worker *worker);
