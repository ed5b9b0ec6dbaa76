/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what comes out of a switch while the rest of the program loads it, and then ends the program. */
#ifndef ARRIVALS_H
#define ARRIVALS_H

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include "../native/frames.h"

enum { PATIENCE_NS = 2000000000, RAMP_NS = 50000000 };

static struct {
    const char *namespace, *interface;
    double seconds;
} counted;

/* Frames that an interface of this thread's network namespace has received. */
static unsigned long long received(const char *interface)
{
    char line[256];
    unsigned long long frames = 0;
    size_t length = strlen(interface);
    FILE *file = fopen("/proc/thread-self/net/dev", "r");
    if (!file)
        fail("/proc/thread-self/net/dev");
    while (fgets(line, sizeof line, file)) {
        const char *at = line + strspn(line, " ");
        if (strncmp(at, interface, length) == 0 && at[length] == ':')
            sscanf(at + length + 1, "%*u %llu", &frames);
    }
    fclose(file);
    return frames;
}

static void *count(void *unused)
{
    int namespace = open(counted.namespace, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET))
        fail(counted.namespace);
    unsigned long long before = received(counted.interface);
    for (int64_t limit = now_ns() + PATIENCE_NS; received(counted.interface) == before && now_ns() < limit;)
        wait_until(NULL, 0, now_ns() + 1000000);
    wait_until(NULL, 0, now_ns() + RAMP_NS);
    before = received(counted.interface);
    int64_t start = now_ns();
    wait_until(NULL, 0, start + (int64_t)(counted.seconds * 1e9));
    unsigned long long after = received(counted.interface);
    printf("%.0f\n", (double)(after - before) * 1e9 / (double)(now_ns() - start));
    fflush(stdout);
    _exit(0);
    return unused;
}

/* Once frames arrive and after a short ramp, prints how many a second `interface` of a network namespace receives in
 * `seconds`, and exits. */
static inline void count_arrivals(const char *namespace, const char *interface, double seconds)
{
    pthread_t thread;
    struct sched_param ahead = {.sched_priority = 20};
    counted.namespace = namespace;
    counted.interface = interface;
    counted.seconds = seconds;
    if (pthread_create(&thread, NULL, count, NULL))
        fail("thread");
    /* It must not wait for the loop that sends; without the privilege it has to. */
    pthread_setschedparam(thread, SCHED_FIFO, &ahead);
}

#endif
