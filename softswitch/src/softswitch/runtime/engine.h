/* SPDX-License-Identifier: Apache-2.0 */
/* One switch: what the files of the runtime share. What else they have is for Python to call (softswitch/engine/ffi.py). */
#ifndef SOFTSWITCH_ENGINE_H
#define SOFTSWITCH_ENGINE_H

#include <pthread.h>
#include <semaphore.h>

#include "packet_io.h"
#include "queue.h"
#include "table.h"
#include "trace.h"

enum {
    SS_MAX_PORTS = 1 << 16,
    SS_BURST = 64, /* packets of one port before the next port's turn */
    SS_HEADS = 256, /* packets that wait for a flush at most */
    SS_CLONES = 64, /* egress clones of one packet that wait; BMv2's egress queue holds as many */
    SS_RECIRCULATING = 1024, /* as BMv2's */
    SS_PASSES = 4096, /* resubmissions, recirculations and egress clones of one packet before it is dropped */
    SS_FRAME_LIMIT = 1 << 16,
};

#define SS_CLOCK_MASK ((UINT64_C(1) << 48) - 1)

/* The arrays that a program has. */
enum ss_array { SS_COUNTERS, SS_REGISTERS, SS_METERS };

/* What a program that takes the place of another one takes over of it: the arrays, what entries of the same key have counted,
 * all entries of a table, or all members and groups of an action profile. */
enum ss_carry_kind { SS_CARRY_COUNTER, SS_CARRY_REGISTER, SS_CARRY_METER, SS_CARRY_COUNTED, SS_CARRY_ENTRIES, SS_CARRY_PROFILE };

/* What the old program has as number `from` and the new one, alike, as number `to`. */
struct ss_carry {
    uint32_t kind, from, to;
    uint32_t first_action, n_actions; /* of entries: which of all struct ss_renumbered are meant */
};

enum ss_event_type { SS_EVENT_DIGEST = 1, SS_EVENT_PACKET_IN, SS_EVENT_PORT, SS_EVENT_LOG, SS_EVENT_TRACE };

#define SS_EVENT_TYPES (SS_EVENT_TRACE + 1)

struct ss_event {
    uint32_t bytes; /* with this header, a multiple of 8 */
    uint32_t type;
    uint32_t a, b; /* digest: list id, values; packet-in: length; port: number, up; log: level, length; trace: words */
};

/* A ring of records that one reader takes out. */
struct ss_events {
    uint8_t *ring;
    uint64_t written, read; /* bytes since the start; each changed by one side only */
    uint64_t dropped[SS_EVENT_TYPES]; /* since the start, for want of room */
    int fd;
    bool pending; /* written since the last signal */
    uint64_t log_window; /* second in which `logged` lines were written */
    uint32_t logged;
};

int ss_events_create(struct ss_events *events);
void ss_events_destroy(struct ss_events *events);
void ss_events_put(struct ss_events *events, enum ss_event_type type, uint32_t a, uint32_t b, const void *head, size_t head_length, const void *tail, size_t tail_length);
bool ss_events_half_full(const struct ss_events *events);
void ss_events_signal(struct ss_events *events);
size_t ss_events_take(struct ss_events *events, uint8_t *out, size_t room);

struct ss_replica {
    uint32_t port;
    uint32_t instance;
};

struct ss_group_list {
    uint32_t count;
    uint32_t packet_length; /* clone sessions: truncates, 0 does not */
    struct ss_replica replicas[];
};

struct ss_loaded {
    void *library;
    const struct ss_program *program; /* one of the two below */
    const struct ss_program *fast;
    const struct ss_program *traced; /* NULL before ss_attach_traced; agrees with `fast` on every structure */
    void *traced_library;
    struct ss_state state;
    uint8_t *phvs; /* SS_PHVS of them, then SS_CLONES */
    size_t phv_stride;
    uint8_t *heads;
    size_t head_stride;
    uint8_t *recirculating; /* SS_RECIRCULATING of PHV and frame */
    size_t recirculating_stride;
};

enum ss_phv_use { SS_PHV_FIRST, SS_PHV_SECOND, SS_PHV_CLONE, SS_PHV_REPLICA, SS_PHVS };

/* As Python reads it. */
struct ss_port_state {
    uint32_t number, up;
    uint64_t cut, unsent;
    char interface[16];
};

struct ss_port {
    uint32_t number;
    char interface[16];
    int ifindex;
    uint32_t mtu; /* that `io` was opened for */
    bool up;
    struct ss_port_io *io; /* NULL while the interface is gone */
    const char *record; /* folder of its capture files, or NULL */
    uint32_t held_back; /* as its line was told */
    bool recorded; /* before: when the interface comes back, the files go on */
    uint64_t cut, unsent;
};

struct ss_capture {
    uint8_t *data; /* records: port, length, bytes */
    size_t length, room;
};

struct ss_engine;

struct ss_command {
    void (*run)(struct ss_engine *, struct ss_command *);
    sem_t done;
    bool moves_ports; /* the packet thread has to do it itself, since it sleeps on its ports */
};

struct ss_engine {
    struct ss_host host; /* first: programs know the engine by it */
    uint32_t cpu_port;
    uint64_t started_ns;
    int64_t frozen_us; /* -1: the clock runs */
    uint32_t frozen_ns; /* beyond those microseconds, while it stands where a packet leaves */
    uint64_t arrived_us; /* when the packet that is switched came in */
    const struct ss_io *io; /* of ports that are attached from now on */
    bool busy_poll; /* the packet thread never sleeps */
    struct ss_loaded *loaded;
    struct ss_events events;
    struct ss_group_list *multicast[1 << 16];
    struct ss_group_list *clones[1 << 15];
    struct ss_capture *capture;
    struct ss_trace trace; /* of the packet under way; its memory is kept */
    bool trace_packets; /* each packet's trace becomes an event */
    uint64_t untraced; /* packets whose trace found the ring half full */

    uint32_t heads_used;
    uint32_t clones_first, clones_waiting;
    uint32_t recirculating_first, recirculating_waiting;
    uint32_t passes;
    struct ss_packet packet; /* the one under way, as it came in */

    uint32_t priorities; /* queues of each port; a packet that asks for another is dropped */
    struct ss_shaping *shaping; /* NULL: nothing is queued, delayed or lost */
    uint64_t shaping_seed;

    struct ss_port *ports[SS_MAX_PORTS];
    struct ss_port *attached[SS_MAX_PORTS / 64]; /* in use, densely */
    uint32_t n_attached;
    char *record; /* folder of the capture files of ports to come, or NULL */
    int link_fd; /* rtnetlink: interfaces come and go */

    pthread_mutex_t control; /* held by whoever calls in; never by the packet thread */
    pthread_mutex_t work; /* held by the packet thread but while it sleeps */
    pthread_t thread;
    bool running;
    int wake_fd;
    struct ss_command *command; /* atomic: what the packet thread shall do next */
    uint64_t sleeps_until_ns; /* of the engine's clock; under `work` */
    bool stop;
};

/* switch.c: one packet to completion */
void ss_switch_packet(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length);
void ss_packet_arrives(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length);
void ss_flush(struct ss_engine *e);
uint64_t ss_now_us(const struct ss_engine *e);
uint64_t ss_now_ns(const struct ss_engine *e);
void ss_emit(struct ss_engine *e, uint32_t port, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length);
void ss_dequeued(struct ss_engine *e, struct ss_held *held);

/* switch_traced.c */
void ss_switch_traced(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length);
bool ss_tell_packet(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length);
void ss_dequeued_traced(struct ss_engine *e, struct ss_held *held);
bool ss_tell_dequeued(struct ss_engine *e, struct ss_held *held);

/* loop.c: the packet thread, and what others ask of it */
void *ss_loop(void *engine);
void ss_execute(struct ss_engine *e, struct ss_command *command);

/* ports.c */
int ss_port_attach(struct ss_engine *e, uint32_t number, const char *interface);
int ss_port_detach(struct ss_engine *e, uint32_t number);
int ss_links_open(void);
void ss_links_read(struct ss_engine *e);
void ss_port_failed(struct ss_engine *e, struct ss_port *port);

/* program.c */
void ss_discard(struct ss_loaded *loaded);

void ss_log(struct ss_host *host, enum ss_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
