// The connection to the node's gateway: frames of the worker protocol (hitless/wire/worker_frames.py).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "protocol.h"

struct frame {
  int type;
  const uint8_t *content;  // until the next frame is read
  size_t size;
};

enum got { GOT_FRAME, GOT_SIGNAL, GOT_END };

// Takes SIGTERM and SIGINT from now on: they are seen while a frame is waited for.
void gateway_signals(void);

// Connects, however long that takes. Returns false when a signal says to end.
bool gateway_connect(const char *path);

// Waits for a frame. GOT_SIGNAL once; GOT_END when the gateway is gone, or has sent what it does not send.
enum got gateway_next(struct frame *frame);

// Sends a frame of these parts. Returns false when the gateway is gone.
bool gateway_send(int type, const struct iovec *parts, int count);

// Lets the gateway's further frames fail; those that it has sent can still be read.
void gateway_take_no_more(void);

void gateway_close(void);

// Numbers of the protocol, which are big-endian.
uint64_t number_at(const uint8_t *at, int size);
uint8_t *put_number(uint8_t *at, uint64_t number, int size);
