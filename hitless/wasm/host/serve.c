#define _GNU_SOURCE
#include "serve.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "gateway.h"
#include "module.h"

#define REQUEST_HEAD 41   // number 8, client 4, request 8, parent 8, deadline 8, kind 1, length of the head 4
#define RESPONSE_HEAD 30  // number 8, status 2, started 8, finished 8, length of the head 4
#define BODY_HEAD 9       // number 8, last 1

static const struct worker *self;
static uint8_t *configuration, *body;
static size_t configuration_size, body_size, body_room;
static bool ready;
static bool ended;    // the gateway has said Shutdown
static bool leaving;  // a signal has come
static uint64_t answers, ids[2];

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void configure(const struct frame *frame) {
  uint8_t *copy = malloc(frame->size + 1);
  if (copy == NULL) return;
  memcpy(copy, frame->content, frame->size);
  free(configuration);
  configuration = copy;
  configuration_size = frame->size;
}

// Collects a body that comes in frames of its own. Returns whether the gateway is still there; `*status` is 0 for a
// whole body, or why the request is not executed.
static bool body_of(uint64_t number, int *status) {
  struct frame frame;
  body_size = 0;
  *status = 0;
  for (;;) {
    enum got got = gateway_next(&frame);
    if (got == GOT_SIGNAL) {
      leaving = true;  // the gateway is told when it has sent this request
      continue;
    }
    if (got == GOT_END) return false;
    if (frame.type == FRAME_CONFIGURE) configure(&frame);
    if (frame.type == FRAME_SHUTDOWN) ended = true;
    if (frame.type == FRAME_CANCEL && frame.size >= 8 && number_at(frame.content, 8) == number) {
      *status = 499;  // nobody hears of it
      return true;
    }
    if (frame.type != FRAME_BODY || frame.size < BODY_HEAD || number_at(frame.content, 8) != number) continue;
    size_t size = frame.size - BODY_HEAD;
    if (body_size + size > WHOLE) {
      *status = 413;
      return true;
    }
    if (body_size + size > body_room) {
      uint8_t *larger = realloc(body, body_room = 2 * (body_size + size));
      if (larger == NULL) return false;
      body = larger;
    }
    memcpy(body + body_size, frame.content + BODY_HEAD, size);
    body_size += size;
    if (frame.content[8]) return true;
  }
}

static bool in_parts(uint64_t number, const struct answer *answer, uint64_t started_ns, struct iovec fields) {
  uint8_t head[18], which[8], tail[16];
  put_number(put_number(put_number(head, number, 8), (uint64_t)answer->status, 2), started_ns, 8);
  if (!gateway_send(FRAME_RESPONSE_HEAD, (struct iovec[]){{head, sizeof head}, fields}, 2)) return false;
  put_number(which, number, 8);
  for (size_t at = 0; at < answer->body.size; at += PART) {
    size_t size = answer->body.size - at < PART ? answer->body.size - at : PART;
    struct iovec parts[] = {{which, sizeof which}, {(void *)(answer->body.data + at), size}};
    if (!gateway_send(FRAME_RESPONSE_BODY, parts, 2)) return false;
  }
  put_number(put_number(tail, number, 8), now_ns(), 8);
  return gateway_send(FRAME_RESPONSE_END, (struct iovec[]){{tail, sizeof tail}}, 1);
}

// Answers a request. `more` are fields beside the function's own.
static bool respond(uint64_t number, const struct answer *answer, uint64_t started_ns, const char *more) {
  static uint8_t *text;
  static size_t room;
  size_t size = answer->fields.size + strlen(more) + 64;
  if (size > room && (text = realloc(text, room = 2 * size)) == NULL) return false;
  char length[48] = "";
  if (answer->body.size > WHOLE) snprintf(length, sizeof length, "\ncontent-length\n%zu", answer->body.size);
  size = (size_t)sprintf((char *)text, "%s%s", more, length);
  if (answer->fields.size > 0) {
    text[size] = '\n';
    memcpy(text + size + 1, answer->fields.data, answer->fields.size);
    size += 1 + answer->fields.size;
  }
  // `more` begins with a line feed where it is not empty.
  struct iovec fields = {size > 0 ? text + 1 : text, size > 0 ? size - 1 : 0};
  if (answer->body.size > WHOLE) return in_parts(number, answer, started_ns, fields);
  uint8_t head[RESPONSE_HEAD], *at = put_number(put_number(head, number, 8), (uint64_t)answer->status, 2);
  put_number(put_number(put_number(at, started_ns, 8), now_ns(), 8), fields.iov_len, 4);
  struct iovec parts[] = {{head, sizeof head}, fields, {(void *)answer->body.data, answer->body.size}};
  return gateway_send(FRAME_RESPONSE, parts, 3);
}

// A text as JSON has it between quotation marks.
static void quoted(const char *text, char *to, size_t size) {
  size_t length = 0;
  for (; *text != 0 && length + 7 < size; text++) {
    unsigned char one = (unsigned char)*text;
    if (one == '"' || one == '\\') {
      to[length++] = '\\';
      to[length++] = (char)one;
    } else if (one < 0x20) {
      length += (size_t)sprintf(to + length, "\\u%04x", one);
    } else {
      to[length++] = (char)one;
    }
  }
  to[length] = 0;
}

// What a caller of a failed call gets, and the log: as the runtime for Python words it.
static bool respond_failure(uint64_t number, const struct answer *answer, uint64_t started_ns, const char *more) {
  char words[2048], text[2304], id[37];
  uint64_t high = ids[0], low = ids[1] + answers;
  snprintf(id, sizeof id, "%08x-%04x-4%03x-8%03x-%012lx", (unsigned)(high >> 32), (unsigned)(high >> 16) & 0xffff,
           (unsigned)high & 0xfff, (unsigned)(low >> 48) & 0xfff, low & 0xffffffffffff);
  quoted(answer->failure, words, sizeof words);
  int size = snprintf(text, sizeof text, "{\"errorMessage\": \"%s\", \"errorType\": \"%s\", \"requestId\": \"%s\"}", words,
                      answer->kind, id);
  fprintf(stderr, "[ERROR] %s: %s RequestId: %s\n", answer->kind, answer->failure, id);
  struct answer said = {.status = strcmp(answer->kind, "Wasm.TimedOut") == 0 ? 504 : 500};
  said.body = (struct bytes){(const uint8_t *)text, (size_t)size};
  char fields[512];
  snprintf(fields, sizeof fields, "%s%s", strstr(more, "content-type") ? "" : "\ncontent-type\napplication/json", more);
  return respond(number, &said, started_ns, fields);
}

// The third line of a head: the version that an event is for.
static struct bytes version_of(struct bytes head) {
  const uint8_t *at = head.data, *stop = head.data + head.size;
  for (int line = 0; line < 2; line++) {
    at = memchr(at, '\n', (size_t)(stop - at));
    if (at++ == NULL) return (struct bytes){head.data, 0};
  }
  const uint8_t *until = memchr(at, '\n', (size_t)(stop - at));
  return (struct bytes){at, (size_t)((until ? until : stop) - at)};
}

static bool has_content_type(struct bytes fields) {
  return fields.size >= 12 && (memcmp(fields.data, "content-type", 12) == 0 ||
                               memmem(fields.data, fields.size, "\ncontent-type\n", 14) != NULL);
}

static bool execute(const struct frame *frame) {
  if (frame->size < REQUEST_HEAD) return false;
  const uint8_t *at = frame->content;
  uint64_t number = number_at(at, 8), deadline_ns = number_at(at + 28, 8);
  int kind = at[36];
  size_t head_size = number_at(at + 37, 4);
  if (head_size > frame->size - REQUEST_HEAD) return false;
  struct bytes head = {at + REQUEST_HEAD, head_size};
  struct request request = {
      .body = {head.data + head_size, frame->size - REQUEST_HEAD - head_size},
      .configuration = {configuration, configuration_size},
      .deadline_ns = deadline_ns,
  };
  self->slot[SLOT_ASKED] = 1;
  char more[256] = "";
  uint64_t started_ns = now_ns();
  uint8_t *kept = NULL;
  bool there = true;
  struct answer answer = {.status = 404};
  int refused = 0;
  if (kind == BODY_FOLLOWS) {
    if ((kept = malloc(head_size + 1)) == NULL) return false;
    head.data = memcpy(kept, head.data, head_size);  // the frame goes with the next one
    there = body_of(number, &refused);
    if (leaving) gateway_take_no_more();
    request.body = (struct bytes){body, body_size};
    request.configuration = (struct bytes){configuration, configuration_size};
  }
  if (kind == BODY_IS_EVENT) {
    struct bytes version = version_of(head);
    snprintf(more, sizeof more, "\ncontent-type\napplication/json\nx-amz-executed-version\n%s", self->version);
    if (version.size > 0 && (version.size != strlen(self->version) || memcmp(version.data, self->version, version.size))) {
      char said[1024], other[65] = "", wanted[256];
      memcpy(other, version.data, version.size < 64 ? version.size : 64);
      quoted(other, wanted, sizeof wanted);
      int size = snprintf(said, sizeof said, "{\"Message\": \"%s has version %s here, not %s\", \"Type\": \"User\"}",
                          self->function, self->version, wanted);
      answer.body = (struct bytes){(const uint8_t *)said, (size_t)size};
      return respond(number, &answer, started_ns, more);
    }
  } else {
    request.head = head;
  }
  if (there && refused != 0) {
    answer.status = refused;
    there = respond(number, &answer, started_ns, "");
  } else if (there) {
    module_call(&request, &answer);
    if (answer.kind != NULL) {
      there = respond_failure(number, &answer, started_ns, more);
    } else {
      if (more[0] == 0 && !has_content_type(answer.fields)) strcpy(more, "\ncontent-type\napplication/octet-stream");
      if (kind == BODY_IS_EVENT) answer.fields.size = 0;
      there = respond(number, &answer, started_ns, more);
    }
    module_done();
    module_ready();
  }
  free(kept);
  answers++;
  memcpy(self->slot + SLOT_ANSWERS, &answers, sizeof answers);
  return there;
}

// Serves one connection. Returns whether to connect again.
static bool connection(void) {
  char hello[1024], handler[512];
  quoted(self->handler, handler, sizeof handler);
  int size = snprintf(hello, sizeof hello, "{\"pid\": %d, \"handler\": \"%s\", \"launch\": %s, \"role\": \"worker\", \"version\": %d}",
                      getpid(), handler, self->launch, VERSION);
  if (!gateway_send(FRAME_HELLO, (struct iovec[]){{hello, (size_t)size}}, 1)) return true;
  ready = false;
  for (;;) {
    struct frame frame;
    switch (gateway_next(&frame)) {
      case GOT_SIGNAL:
        gateway_take_no_more();  // what it has sent is still executed
        leaving = true;
        continue;
      case GOT_END:
        return !leaving;
      case GOT_FRAME:
        break;
    }
    switch (frame.type) {
      case FRAME_CONFIGURE:
        configure(&frame);
        if (!ready) {
          double now = (double)now_ns() / 1e9;
          module_ready();
          memcpy(self->slot, &now, sizeof now);
          ready = true;
          if (!gateway_send(FRAME_READY, NULL, 0)) return true;
        }
        break;
      case FRAME_REQUEST:
        if (!execute(&frame)) return !leaving;
        if (ended) return false;
        break;
      case FRAME_SHUTDOWN:
        return false;
      case FRAME_BODY:
      case FRAME_CANCEL:
        break;  // of a request that has been answered
      default:
        fprintf(stderr, "worker %d: the gateway sent a frame of type %d, expected a request\n", getpid(), frame.type);
        return true;
    }
  }
}

void serve(const struct worker *worker) {
  self = worker;
  if (getrandom(ids, sizeof ids, 0) != sizeof ids) ids[0] = now_ns();
  gateway_signals();
  while (gateway_connect(worker->gateway) && connection()) {
    fprintf(stderr, "worker %d: the gateway closed the connection: connecting again\n", getpid());
    gateway_close();
  }
  worker->slot[SLOT_TOLD] = 1;
  gateway_close();
}
