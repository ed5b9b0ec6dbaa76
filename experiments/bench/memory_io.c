/* SPDX-License-Identifier: Apache-2.0 */
/* Packet input and output in memory: softswitch's own packet thread, with no kernel between it and the packets. A library for
 * inside.py, which attaches its ports before the packet thread starts. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/eventfd.h>

#include "../../softswitch/src/softswitch/runtime/engine.h"
#include "../native/frames.h"

enum { FRAMES = 1 << 9, MEMBERS_MAX = 64 };

struct memory_port {
    struct ss_port_io base;
    uint8_t frames[FRAMES][FRAME];
    uint32_t lengths[FRAMES];
    uint32_t distinct; /* of `frames` in use, in turn */
    uint64_t wanted, given, left;
    sem_t done;
};

static unsigned memory_receive(struct ss_port_io *io, struct ss_received *packets, unsigned limit, uint64_t *cut)
{
    struct memory_port *p = (struct memory_port *)io;
    uint64_t wanted = __atomic_load_n(&p->wanted, __ATOMIC_ACQUIRE);
    unsigned n = 0;
    (void)cut;
    for (; n < limit && p->given < wanted; n++, p->given++) {
        uint64_t i = p->given % p->distinct;
        packets[n] = (struct ss_received){p->frames[i], p->lengths[i]};
    }
    return n;
}

static void memory_release(struct ss_port_io *io)
{
    struct memory_port *p = (struct memory_port *)io;
    uint64_t count;
    /* Readable until all is done; only then may more be asked for. */
    if (p->given == p->wanted && read(io->fd, &count, sizeof count) > 0)
        sem_post(&p->done);
}

static int memory_send(struct ss_port_io *io, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    (void)head, (void)head_length, (void)tail, (void)tail_length;
    ((struct memory_port *)io)->left++;
    return 1;
}

static unsigned memory_flush(struct ss_port_io *io)
{
    (void)io;
    return 0;
}

static void memory_close(struct ss_port_io *io)
{
    close(io->fd);
    free(io);
}

static const struct ss_io ss_memory = {
    .close = memory_close,
    .receive = memory_receive,
    .release = memory_release,
    .send = memory_send,
    .flush = memory_flush,
};

struct memory_port *memory_attach(struct ss_engine *e, uint32_t number)
{
    struct ss_port *port = calloc(1, sizeof *port);
    struct memory_port *io = calloc(1, sizeof *io);
    io->base = (struct ss_port_io){.io = &ss_memory, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    sem_init(&io->done, 0, 0);
    *port = (struct ss_port){.number = number, .interface = "memory", .up = true, .io = &io->base};
    e->ports[number] = e->attached[e->n_attached++] = port;
    /* No interface has the port's name, so it must not be looked up when some link changes. */
    close(e->link_fd);
    e->link_fd = -1;
    return io;
}

/* Packets that have left by the port. */
uint64_t memory_left(const struct memory_port *p)
{
    return p->left;
}

static void put_request(struct memory_port *p, unsigned service)
{
    uint8_t *frame = p->frames[p->distinct];
    uint8_t *at = put_headers(frame, client_mac(), CLIENT, CLIENT_PORT, SERVICES + service, SERVICE_PORT, INVOCATION);
    at = put_invocation(at, REQUEST, SERVICE_IDS + service, p->distinct, 0);
    p->lengths[p->distinct++] = (uint32_t)(at - frame);
}

/* What to feed: requests to `count` services from `first` on, in turn. */
void memory_requests(struct memory_port *p, unsigned first, unsigned count)
{
    p->distinct = 0;
    for (unsigned i = 0; i < count; i++)
        put_request(p, first + i);
}

/* What to feed: requests to all services, and among them reports that nobody may send here, and cut frames. */
void memory_mixture(struct memory_port *p, unsigned services)
{
    struct report report = {.sequence = 2, .service_interval = 10};
    p->distinct = 0;
    while (p->distinct < FRAMES) {
        uint32_t i = p->distinct;
        if (i % 16 == 5) {
            p->lengths[i] = (uint32_t)report_frame(p->frames[i], SERVICE_IDS + i % services, 0, &report);
            p->distinct++;
        } else {
            put_request(p, i % services);
            if (i % 16 == 10)
                p->lengths[i] -= 1 + i / 16;
        }
    }
}

/* What to feed: one report of each instance of a service. */
void memory_reports(struct memory_port *p, unsigned service, unsigned members)
{
    struct report report = {.sequence = 1, .service_interval = 10};
    p->distinct = 0;
    for (unsigned m = 0; m < members && m < MEMBERS_MAX; m++)
        p->lengths[p->distinct++] = (uint32_t)report_frame(p->frames[m], SERVICE_IDS + service, m, &report);
}

/* Feeds that many packets and waits until they are done; returns the packet thread's CPU time in ns. */
uint64_t memory_feed(struct ss_engine *e, struct memory_port *p, uint64_t packets)
{
    struct timespec before, after;
    clockid_t clock;
    uint64_t one = 1;
    pthread_getcpuclockid(e->thread, &clock);
    clock_gettime(clock, &before);
    __atomic_add_fetch(&p->wanted, packets, __ATOMIC_RELEASE);
    (void)!write(p->base.fd, &one, sizeof one);
    sem_wait(&p->done);
    clock_gettime(clock, &after);
    return (uint64_t)((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec);
}
