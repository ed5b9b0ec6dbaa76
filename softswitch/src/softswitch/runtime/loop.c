/* SPDX-License-Identifier: Apache-2.0 */
/* The packet thread: packets in bursts, commands between bursts, sleep when there is neither. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine.h"

enum { IDLE_ROUNDS = 256 }; /* of a thread that never sleeps, before it asks for more than packets and commands */

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
    unsigned total = 0;
    for (uint32_t i = 0; i < e->n_attached; i++) {
        struct ss_port *port = e->attached[i];
        struct ss_received packets[SS_BURST];
        if (!port->io)
            continue;
        uint64_t cut = port->cut;
        unsigned n = port->io->io->receive(port->io, packets, SS_BURST, &port->cut);
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
            ss_switch_packet(e, port->number, packets[k].data, packets[k].length);
        }
        if (n)
            ss_flush(e);
        port->io->io->release(port->io);
        total += n;
    }
    return total;
}

/* Sleeps until there is something to do, or looks for it only (`timeout` 0). */
static void rest(struct ss_engine *e, int timeout)
{
    enum { OURS = 2 };
    struct pollfd fds[OURS + sizeof e->attached / sizeof *e->attached];
    struct ss_port *ports[sizeof e->attached / sizeof *e->attached];
    nfds_t n = OURS;
    fds[0] = (struct pollfd){.fd = e->wake_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = e->link_fd, .events = POLLIN};
    for (uint32_t i = 0; i < e->n_attached; i++)
        if (e->attached[i]->io) {
            ports[n - OURS] = e->attached[i];
            fds[n++] = (struct pollfd){.fd = e->attached[i]->io->fd, .events = POLLIN};
        }
    pthread_mutex_unlock(&e->work);
    int ready = poll(fds, n, timeout);
    pthread_mutex_lock(&e->work);
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

void *ss_loop(void *engine)
{
    struct ss_engine *e = engine;
    unsigned idle = 0; /* rounds since there was anything */
    prctl(PR_SET_NAME, "packets");
    pthread_mutex_lock(&e->work);
    while (!__atomic_load_n(&e->stop, __ATOMIC_ACQUIRE)) {
        unsigned n = burst(e);
        run_command(e);
        ss_events_signal(&e->events);
        if (n)
            idle = 0;
        else if (!e->busy_poll)
            rest(e, -1);
        else if (++idle % IDLE_ROUNDS == 0)
            rest(e, 0);
    }
    pthread_mutex_unlock(&e->work);
    return NULL;
}
