/* SPDX-License-Identifier: Apache-2.0 */
/* The switch once more, telling what happens to a packet, so that the one in switch.c need not ask whether it should. */
#define SS_TRACED
#include "switch.c"

static void tell(struct ss_engine *e)
{
    e->loaded->program = e->loaded->traced;
    e->trace.length = 0;
    e->trace.cut = false;
    e->host.trace = &e->trace;
}

static void end(struct ss_engine *e)
{
    e->host.trace = NULL;
    e->loaded->program = e->loaded->fast;
}

/* Leaves the trace in e->trace, with that of what leaves a queue at once. The running program has its traced variant. */
void ss_switch_traced(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
{
    tell(e);
    NOTE(e, SS_TRACE_PACKET, port, length, ss_now_us(e));
    run(e, port, data, length);
    if (e->shaping)
        ss_shaping_pass(e);
    end(e);
}

static bool can_tell(struct ss_engine *e)
{
    if (!e->loaded->traced)
        return false;
    if (ss_events_half_full(&e->events)) { /* digests and packet-ins need room more */
        e->untraced++;
        return false;
    }
    if (e->untraced)
        ss_log(&e->host, SS_WARNING, "%llu packets were not traced: too many at once", (unsigned long long)e->untraced);
    e->untraced = 0;
    return true;
}

static void told(struct ss_engine *e)
{
    end(e);
    ss_events_put(&e->events, SS_EVENT_TRACE, (uint32_t)e->trace.length, 0, e->trace.words, e->trace.length * sizeof *e->trace.words, NULL, 0);
}

/* Runs a packet and makes an event of its trace; false when that is not possible now. */
bool ss_tell_packet(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
{
    if (!can_tell(e))
        return false;
    tell(e);
    NOTE(e, SS_TRACE_PACKET, port, length, ss_now_us(e));
    run(e, port, data, length);
    told(e);
    return true;
}

/* The same for the second half of a packet's way, from a queue on. */
bool ss_tell_dequeued(struct ss_engine *e, struct ss_held *held)
{
    if (!can_tell(e))
        return false;
    tell(e);
    ss_dequeued_traced(e, held);
    told(e);
    return true;
}
