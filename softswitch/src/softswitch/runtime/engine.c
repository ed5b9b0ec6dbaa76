/* SPDX-License-Identifier: Apache-2.0 */
/* A switch as Python holds it: made, started, given ports, packets and replication lists, and ended. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t host_now(struct ss_host *host) { return ss_now_us((struct ss_engine *)host); }

struct ss_engine *ss_create(uint32_t cpu_port, uint32_t drop_port)
{
    struct ss_engine *e = calloc(1, sizeof *e);
    struct timespec t;
    if (!e)
        return NULL;
    clock_gettime(CLOCK_MONOTONIC, &t);
    e->started_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    e->frozen_us = -1;
    e->io = &ss_af_packet;
    e->cpu_port = cpu_port;
    e->priorities = 1;
    e->host.drop_port = drop_port;
    e->host.log = ss_log;
    e->host.now = host_now;
    e->host.random[1] = 1; /* xorshift needs a bit that is set */
    (void)!getrandom(e->host.random, sizeof *e->host.random, 0);
    (void)!getrandom(&e->shaping_seed, sizeof e->shaping_seed, 0);
    pthread_mutex_init(&e->control, NULL);
    /* A caller that works while the packet thread would is not put off by what the packet thread may preempt. */
    pthread_mutexattr_t inheriting;
    pthread_mutexattr_init(&inheriting);
    pthread_mutexattr_setprotocol(&inheriting, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&e->work, &inheriting);
    pthread_mutexattr_destroy(&inheriting);
    e->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    e->link_fd = ss_links_open();
    if (ss_events_create(&e->events) || e->wake_fd < 0) {
        free(e);
        return NULL;
    }
    return e;
}

/* Before `ss_start`: how packets come in and go out, and whether the packet thread never sleeps. Returns 0 or EINVAL. */
int ss_configure(struct ss_engine *e, const char *io, int busy_poll)
{
    if (strcmp(io, "af_packet") == 0)
        e->io = &ss_af_packet;
    else if (strcmp(io, "af_xdp") == 0)
        e->io = &ss_af_xdp;
    else
        return EINVAL;
    e->busy_poll = busy_poll;
    return 0;
}

int ss_start(struct ss_engine *e)
{
    int error = 0;
    pthread_mutex_lock(&e->control);
    if (!e->running) {
        e->stop = false;
        error = pthread_create(&e->thread, NULL, ss_loop, e);
        e->running = error == 0;
    }
    pthread_mutex_unlock(&e->control);
    return error;
}

static void stop(struct ss_engine *e)
{
    uint64_t one = 1;
    pthread_mutex_lock(&e->control);
    if (e->running) {
        __atomic_store_n(&e->stop, true, __ATOMIC_RELEASE);
        (void)!write(e->wake_fd, &one, sizeof one);
        pthread_join(e->thread, NULL);
        e->running = false;
    }
    pthread_mutex_unlock(&e->control);
}

void ss_destroy(struct ss_engine *e)
{
    stop(e);
    while (e->n_attached)
        ss_port_detach(e, e->attached[0]->number);
    ss_shaping_free(e);
    ss_discard(e->loaded);
    for (size_t i = 0; i < sizeof e->multicast / sizeof *e->multicast; i++)
        free(e->multicast[i]);
    for (size_t i = 0; i < sizeof e->clones / sizeof *e->clones; i++)
        free(e->clones[i]);
    ss_events_destroy(&e->events);
    free(e->trace.words);
    free(e->record);
    close(e->wake_fd);
    if (e->link_fd >= 0)
        close(e->link_fd);
    pthread_mutex_destroy(&e->control);
    pthread_mutex_destroy(&e->work);
    free(e);
}

int ss_event_fd(struct ss_engine *e) { return e->events.fd; }

uint64_t ss_dropped_events(struct ss_engine *e, uint32_t type) { return __atomic_load_n(&e->events.dropped[type], __ATOMIC_RELAXED); }

size_t ss_read_events(struct ss_engine *e, uint8_t *out, size_t room)
{
    return ss_events_take(&e->events, out, room);
}

uint64_t ss_clock_us(struct ss_engine *e) { return ss_now_us(e); }

struct freeze {
    struct ss_command command;
    int64_t us;
};

static void do_freeze(struct ss_engine *e, struct ss_command *c) 
{
    e->frozen_us = ((struct freeze *)c)->us;
    e->frozen_ns = 0;
}

void ss_freeze_clock(struct ss_engine *e, int64_t us)
{
    struct freeze f = {{.run = do_freeze}, us};
    ss_execute(e, &f.command);
}

struct seeding {
    struct ss_command command;
    uint64_t seed;
};

static void do_seed(struct ss_engine *e, struct ss_command *c)
{
    /* Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (2014): close seeds give unlike numbers */
    uint64_t z = ((struct seeding *)c)->seed + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    e->host.random[0] = z ^ (z >> 31);
    e->host.random[1] = 1;
    e->shaping_seed = ((struct seeding *)c)->seed;
}

/* The same seed gives the same random numbers. */
void ss_seed(struct ss_engine *e, uint64_t seed)
{
    struct seeding s = {{.run = do_seed}, seed};
    ss_execute(e, &s.command);
}

struct tracing {
    struct ss_command command;
    bool on;
};

static void do_trace(struct ss_engine *e, struct ss_command *c)
{
    e->trace_packets = ((struct tracing *)c)->on;
}

/* Whether each packet's trace becomes an event; of a program without traced variant, none does. */
void ss_trace_packets(struct ss_engine *e, int on)
{
    struct tracing t = {{.run = do_trace}, on};
    ss_execute(e, &t.command);
}

struct replication {
    struct ss_command command;
    struct ss_group_list **slot;
    struct ss_group_list *list;
};

static void do_replication(struct ss_engine *e, struct ss_command *c)
{
    struct replication *r = (struct replication *)c;
    struct ss_group_list *old = *r->slot;
    (void)e;
    *r->slot = r->list;
    r->list = old;
}

/* Replaces a multicast group or clone session, `count` UINT32_MAX deletes it. Returns whether it existed, or -1. */
int ss_replicate(struct ss_engine *e, int clone, uint32_t id, const struct ss_replica *replicas, uint32_t count, uint32_t packet_length)
{
    struct replication r = {{.run = do_replication}, clone ? &e->clones[id] : &e->multicast[id], NULL};
    if (count != UINT32_MAX) {
        r.list = malloc(sizeof *r.list + count * sizeof *replicas);
        if (!r.list)
            return -1;
        r.list->count = count;
        r.list->packet_length = packet_length;
        if (count)
            memcpy(r.list->replicas, replicas, count * sizeof *replicas);
    }
    ss_execute(e, &r.command);
    int existed = r.list != NULL;
    free(r.list);
    return existed;
}

struct port_change {
    struct ss_command command;
    uint32_t number;
    const char *interface; /* NULL detaches */
    int error;
};

static void do_port(struct ss_engine *e, struct ss_command *c)
{
    struct port_change *p = (struct port_change *)c;
    ss_flush(e);
    p->error = p->interface ? ss_port_attach(e, p->number, p->interface) : ss_port_detach(e, p->number);
}

/* Returns 0 or an errno. */
int ss_port(struct ss_engine *e, uint32_t number, const char *interface)
{
    struct port_change p = {{.run = do_port, .moves_ports = true}, number, interface, 0};
    ss_execute(e, &p.command);
    return p.error;
}

/* Ports attached from now on are recorded in files of `folder`. Before ss_start, once. Returns 0 or an errno. */
int ss_record_ports(struct ss_engine *e, const char *folder)
{
    e->record = strdup(folder);
    return e->record ? 0 : ENOMEM;
}

struct port_query {
    struct ss_command command;
    struct ss_port_state *states;
    uint32_t room, count;
};

static void do_ports(struct ss_engine *e, struct ss_command *c)
{
    struct port_query *q = (struct port_query *)c;
    for (uint32_t i = 0; i < e->n_attached && q->count < q->room; i++) {
        const struct ss_port *port = e->attached[i];
        struct ss_port_state *s = &q->states[q->count++];
        *s = (struct ss_port_state){.number = port->number, .up = port->up, .cut = port->cut, .unsent = port->unsent};
        memcpy(s->interface, port->interface, sizeof s->interface);
    }
}

uint32_t ss_ports(struct ss_engine *e, struct ss_port_state *states, uint32_t room)
{
    struct port_query q = {{.run = do_ports}, states, room, 0};
    ss_execute(e, &q.command);
    return q.count;
}

struct injection {
    struct ss_command command;
    uint32_t port;
    const uint8_t *data;
    uint32_t length;
    struct ss_capture *capture;
    struct ss_trace *trace; /* to be filled, or NULL */
};

static void do_inject(struct ss_engine *e, struct ss_command *c)
{
    struct injection *i = (struct injection *)c;
    e->capture = i->capture;
    e->arrived_us = ss_now_us(e);
    if (i->trace) {
        ss_switch_traced(e, i->port, i->data, i->length);
        *i->trace = e->trace;
        e->trace = (struct ss_trace){0};
    } else {
        ss_packet_arrives(e, i->port, i->data, i->length);
    }
    e->capture = NULL;
    ss_flush(e);
}

/* Runs one packet. With `out`, what would leave is put there instead (to be freed by ss_release): port, length, bytes. */
size_t ss_inject(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length, uint8_t **out)
{
    struct ss_capture capture = {0};
    struct injection i = {{.run = do_inject}, port, data, length, out ? &capture : NULL, NULL};
    ss_execute(e, &i.command);
    if (out)
        *out = capture.data;
    return capture.length;
}

/* The same in the traced variant, which the program has; what the packet met is put in `trace`, its words to be released. */
size_t ss_inject_traced(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length, uint8_t **out, struct ss_trace *trace)
{
    struct ss_capture capture = {0};
    struct injection i = {{.run = do_inject}, port, data, length, &capture, trace};
    ss_execute(e, &i.command);
    *out = capture.data;
    return capture.length;
}

void ss_release(uint8_t *data) { free(data); }
