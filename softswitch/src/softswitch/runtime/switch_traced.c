/* SPDX-License-Identifier: Apache-2.0 */
/* The switch once more, telling what happens to a packet, so that the one in switch.c need not ask whether it should. */
#define SS_TRACED
#include "switch.c"

/* Leaves the trace in e->trace. The running program has its traced variant. */
void ss_switch_traced(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
{
    e->loaded->program = e->loaded->traced;
    e->trace.length = 0;
    e->trace.cut = false;
    e->host.trace = &e->trace;
    NOTE(e, SS_TRACE_PACKET, port, length, ss_now_us(e));
    run(e, port, data, length);
    e->host.trace = NULL;
    e->loaded->program = e->loaded->fast;
}

/* Runs a packet and makes an event of its trace; false when that is not possible now. */
bool ss_tell_packet(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
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
    ss_switch_traced(e, port, data, length);
    ss_events_put(&e->events, SS_EVENT_TRACE, (uint32_t)e->trace.length, 0, e->trace.words, e->trace.length * sizeof *e->trace.words, NULL, 0);
    return true;
}
