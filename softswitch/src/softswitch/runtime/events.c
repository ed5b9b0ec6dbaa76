/* SPDX-License-Identifier: Apache-2.0 */
/* The ring by which the packet path tells Python things without waiting for it. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine.h"

enum { RING_BYTES = 8 << 20, LOG_LINES_A_SECOND = 50 };

int ss_events_create(struct ss_events *events)
{
    events->ring = malloc(RING_BYTES);
    events->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return events->ring && events->fd >= 0 ? 0 : -1;
}

void ss_events_destroy(struct ss_events *events)
{
    free(events->ring);
    if (events->fd >= 0)
        close(events->fd);
}

static void copy_in(struct ss_events *events, uint64_t at, const void *from, size_t length)
{
    size_t start = at % RING_BYTES, first = RING_BYTES - start < length ? RING_BYTES - start : length;
    if (!length)
        return;
    memcpy(events->ring + start, from, first);
    memcpy(events->ring, (const uint8_t *)from + first, length - first);
}

static void copy_out(const struct ss_events *events, uint64_t at, void *to, size_t length)
{
    size_t start = at % RING_BYTES, first = RING_BYTES - start < length ? RING_BYTES - start : length;
    memcpy(to, events->ring + start, first);
    memcpy((uint8_t *)to + first, events->ring, length - first);
}

void ss_events_put(struct ss_events *events, enum ss_event_type type, uint32_t a, uint32_t b, const void *head, size_t head_length, const void *tail, size_t tail_length)
{
    size_t bytes = (sizeof(struct ss_event) + head_length + tail_length + 7) & ~(size_t)7;
    uint64_t read = __atomic_load_n(&events->read, __ATOMIC_ACQUIRE);
    if (events->written + bytes - read > RING_BYTES) {
        __atomic_add_fetch(&events->dropped[type], 1, __ATOMIC_RELAXED);
        return;
    }
    struct ss_event event = {(uint32_t)bytes, type, a, b};
    copy_in(events, events->written, &event, sizeof event);
    copy_in(events, events->written + sizeof event, head, head_length);
    copy_in(events, events->written + sizeof event + head_length, tail, tail_length);
    __atomic_store_n(&events->written, events->written + bytes, __ATOMIC_RELEASE);
    events->pending = true;
}

bool ss_events_half_full(const struct ss_events *events)
{
    return events->written - __atomic_load_n(&events->read, __ATOMIC_ACQUIRE) > RING_BYTES / 2;
}

void ss_events_signal(struct ss_events *events)
{
    if (!events->pending)
        return;
    events->pending = false;
    uint64_t one = 1;
    /* It can fail only by being readable already. */
    (void)!write(events->fd, &one, sizeof one);
}

size_t ss_events_take(struct ss_events *events, uint8_t *out, size_t room)
{
    uint64_t written = __atomic_load_n(&events->written, __ATOMIC_ACQUIRE), read = events->read;
    size_t taken = 0;
    while (read < written) {
        struct ss_event event;
        copy_out(events, read, &event, sizeof event);
        if (taken + event.bytes > room)
            break;
        copy_out(events, read, out + taken, event.bytes);
        taken += event.bytes;
        read += event.bytes;
    }
    __atomic_store_n(&events->read, read, __ATOMIC_RELEASE);
    return taken;
}

/* A program that complains about every packet must not crowd out the digests. */
void ss_log(struct ss_host *host, enum ss_log_level level, const char *format, ...)
{
    struct ss_engine *e = (struct ss_engine *)host;
    char text[512];
    va_list arguments;
    uint64_t second = ss_now_us(e) / 1000000;
    if (second != e->events.log_window) {
        uint32_t lines = e->events.logged;
        e->events.log_window = second;
        e->events.logged = 0;
        if (lines > LOG_LINES_A_SECOND)
            ss_log(host, SS_WARNING, "%u lines were left out: at most %d are written in a second", lines - LOG_LINES_A_SECOND, LOG_LINES_A_SECOND);
    }
    if (e->events.logged++ >= LOG_LINES_A_SECOND)
        return;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof text)
        length = sizeof text - 1;
    if (length > 0)
        ss_events_put(&e->events, SS_EVENT_LOG, level, (uint32_t)length, text, (size_t)length, NULL, 0);
}
