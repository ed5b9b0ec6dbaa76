/* SPDX-License-Identifier: Apache-2.0 */
/* The packet thread: packets in bursts, commands between bursts, sleep when there is neither. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine.h"

enum {
    SPIN_NS = 30000, /* of waiting for what leaves a queue or link: waking up takes about as long */
    SMALL_BURST = 16, /* packets before the next look at queues and links */
};

enum { IDLE_ROUNDS = 256 }; /* of a thread that never sleeps, before it asks for more than packets and commands */

/* What a caller has done may leave something to do before the packet thread would wake up. */
static void wake_for_shaping(struct ss_engine *e)
{
    uint64_t one = 1;
    if (e->shaping && ss_shaping_next(e) < e->sleeps_until_ns)
        (void)!write(e->wake_fd, &one, sizeof one);
}

/* The caller does the work itself where there is no packet thread, and while that sleeps: waking it takes longer than most
 * commands do. `control` makes callers take turns. */
void ss_execute(struct ss_engine *e, struct ss_command *command)
{
    pthread_mutex_lock(&e->control);
    if (!e->running) {
        command->run(e, command);
        ss_events_signal(&e->events);
    } else if (!command->moves_ports && pthread_mutex_trylock(&e->work) == 0) {
        command->run(e, command);
        ss_events_signal(&e->events);
        wake_for_shaping(e);
        pthread_mutex_unlock(&e->work);
    } else {
        uint64_t one = 1;
        sem_init(&command->done, 0, 0);
        __atomic_store_n(&e->command, command, __ATOMIC_RELEASE);
        (void)!write(e->wake_fd, &one, sizeof one);
        while (sem_wait(&command->done) && errno == EINTR)
            ;
        sem_destroy(&command->done);
    }
    pthread_mutex_unlock(&e->control);
}

static void run_command(struct ss_engine *e)
{
    struct ss_command *command = __atomic_exchange_n(&e->command, NULL, __ATOMIC_ACQUIRE);
    if (!command)
        return;
    command->run(e, command);
    sem_post(&command->done);
}

static unsigned burst(struct ss_engine *e)
{
    unsigned total = 0, limit = e->shaping && ss_shaping_next(e) != SS_NEVER ? SMALL_BURST : SS_BURST;
    for (uint32_t i = 0; i < e->n_attached; i++) {
        struct ss_port *port = e->attached[i];
        struct ss_received packets[SS_BURST];
        if (!port->io)
            continue;
        uint64_t cut = port->cut;
        unsigned n = port->io->io->receive(port->io, packets, limit, &port->cut);
        if (cut == 0 && port->cut != 0)
            ss_log(&e->host, SS_WARNING,
                   "port %u (%s): a frame of segmentation offload was dropped (of a tunnel, over 64 KB, or too many at once), "
                   "and others may be (see softswitch port list); turn it off: "
                   "ethtool -K %s tso off gso off gro off tx-udp-segmentation off, on both ends",
                   port->number, port->interface, port->interface);
        if (n)
            e->arrived_us = ss_now_us(e);
        for (unsigned k = 0; k < n; k++) {
            if (k + 1 < n)
                __builtin_prefetch(packets[k + 1].data);
            ss_packet_arrives(e, port->number, packets[k].data, packets[k].length);
        }
        if (n)
            ss_flush(e);
        port->io->io->release(port->io);
        total += n;
    }
    return total;
}

/* Sleeps until there is something to do, at most until `until_ns`; looks for it only where that is past. */
static void rest(struct ss_engine *e, uint64_t until_ns)
{
    enum { OURS = 2 };
    struct pollfd fds[OURS + 2 * (sizeof e->attached / sizeof *e->attached)];
    struct ss_port *ports[2 * (sizeof e->attached / sizeof *e->attached)];
    nfds_t n = OURS;
    fds[0] = (struct pollfd){.fd = e->wake_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = e->link_fd, .events = POLLIN};
    for (uint32_t i = 0; i < e->n_attached; i++) {
        struct ss_port *port = e->attached[i];
        if (!port->io)
            continue;
        ports[n - OURS] = port;
        fds[n++] = (struct pollfd){.fd = port->io->fd, .events = POLLIN};
        if (!port->held_back)
            continue;
        ports[n - OURS] = port;
        fds[n++] = (struct pollfd){.fd = port->io->out, .events = POLLOUT};
    }
    uint64_t now = until_ns && until_ns != SS_NEVER ? ss_now_ns(e) : 0, left = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    e->sleeps_until_ns = until_ns;
    pthread_mutex_unlock(&e->work);
    int ready = ppoll(fds, n, until_ns == SS_NEVER ? NULL : &timeout, NULL);
    pthread_mutex_lock(&e->work);
    e->sleeps_until_ns = 0;
    if (ready <= 0)
        return;
    if (fds[0].revents) {
        uint64_t count;
        (void)!read(e->wake_fd, &count, sizeof count);
    }
    for (nfds_t i = OURS; i < n; i++)
        if (fds[i].revents & (POLLERR | POLLNVAL | POLLHUP))
            ss_port_failed(e, ports[i - OURS]);
    if (fds[1].revents)
        ss_links_read(e);
}

/* Until when the packet thread may sleep, once it has done what is due: not long enough to be late for the next packet. */
static uint64_t shape(struct ss_engine *e)
{
    if (ss_shaping_next(e) == SS_NEVER && !e->shaping->holding)
        return SS_NEVER;
    ss_shaping_pass(e);
    ss_flush(e); /* which may let more leave */
    uint64_t next = ss_shaping_next(e), now;
    if (next == SS_NEVER)
        return SS_NEVER;
    now = ss_now_ns(e);
    return next > now + SPIN_NS ? next - SPIN_NS : 0;
}

void *ss_loop(void *engine)
{
    struct ss_engine *e = engine;
    unsigned idle = 0; /* rounds since there was anything */
    prctl(PR_SET_NAME, "packets");
    prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds: what leaves a queue or link leaves in time */
    pthread_mutex_lock(&e->work);
    while (!__atomic_load_n(&e->stop, __ATOMIC_ACQUIRE)) {
        unsigned n = burst(e);
        run_command(e);
        uint64_t until = __builtin_expect(e->shaping != NULL, 0) ? shape(e) : SS_NEVER;
        ss_events_signal(&e->events);
        if (n)
            idle = 0;
        else if (!e->busy_poll && until)
            rest(e, until);
        else if (++idle % IDLE_ROUNDS == 0)
            rest(e, 0);
    }
    pthread_mutex_unlock(&e->work);
    return NULL;
}
