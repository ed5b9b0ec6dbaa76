/* Runs a compiled program on packets from a file, for sanitizers: argv[1] is the program's library, argv[2] packets as
 * (port, length, bytes), argv[3] packed table operations after a count, argv[4] where the output goes. */
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

struct ss_engine *ss_create(uint32_t cpu_port, uint32_t drop_port);
void ss_destroy(struct ss_engine *e);
struct ss_loaded *ss_open(struct ss_engine *e, const char *path, char *error, size_t room);
void ss_swap(struct ss_engine *e, struct ss_loaded *l);
void ss_apply(struct ss_engine *e, struct ss_loaded *l, const uint8_t *ops, uint32_t n, int32_t *results, uint8_t *cells, size_t cell);
int ss_replicate(struct ss_engine *e, int clone, uint32_t id, const struct ss_replica *replicas, uint32_t count, uint32_t packet_length);
uint64_t ss_settle(struct ss_engine *e, uint64_t until_ns, uint8_t **out, size_t *length);
void ss_freeze_clock(struct ss_engine *e, int64_t us);
int ss_set_queue(struct ss_engine *e, uint32_t port, int priority, int64_t depth, int64_t rate);
size_t ss_inject(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length, uint8_t **out);
void ss_release(uint8_t *data);
size_t ss_read_events(struct ss_engine *e, uint8_t *out, size_t room);

static uint8_t *slurp(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*length + 1);
    if (fread(data, 1, *length, file) != *length)
        exit(2);
    fclose(file);
    return data;
}

static size_t write_part(FILE *file, uint8_t *data, size_t length)
{
    if (length)
        fwrite(data, 1, length, file);
    ss_release(data);
    return length;
}

int main(int argc, char **argv)
{
    char error[512];
    static uint8_t events[1 << 20];
    size_t length, room;
    struct ss_engine *e = ss_create(510, 511);
    struct ss_loaded *l = argc == 5 ? ss_open(e, argv[1], error, sizeof error) : NULL;
    if (!l)
        return 3;
    uint8_t *ops = slurp(argv[3], &room);
    uint32_t count;
    memcpy(&count, ops, sizeof count);
    int32_t *results = calloc(count + 1, sizeof *results);
    ss_apply(e, l, ops + 8, count, results, NULL, 0);
    for (uint32_t i = 0; i < count; i++)
        if (results[i])
            return 4;
    ss_swap(e, l);
    for (uint32_t i = 1; i < 4; i++) {
        struct ss_replica replicas[] = {{i + 1, 10}, {i + 2, 11}};
        ss_replicate(e, 0, i, replicas, 2, 0);
        ss_replicate(e, 1, i, replicas, 2, 0);
    }
    for (uint32_t port = 1; port < 512; port += 2)
        ss_set_queue(e, port, -1, -1, 1000000000);
    ss_freeze_clock(e, 0);
    uint8_t *packets = slurp(argv[2], &length);
    FILE *output = fopen(argv[4], "wb");
    for (size_t at = 0; at < length;) {
        uint32_t prefix[2];
        memcpy(prefix, packets + at, sizeof prefix);
        at += sizeof prefix;
        /* a copy of its own, so that the sanitizer sees reads behind the packet's end */
        uint8_t *packet = malloc(prefix[1]);
        memcpy(packet, packets + at, prefix[1]);
        uint8_t *out;
        size_t n = ss_inject(e, prefix[0], packet, prefix[1], &out);
        free(packet); /* what waits in a queue does not need it */
        uint64_t size = 0;
        long begin = ftell(output);
        fwrite(&size, sizeof size, 1, output);
        size = write_part(output, out, n);
        while (ss_settle(e, UINT64_MAX - 1, &out, &n) != UINT64_MAX)
            size += write_part(output, out, n);
        fseek(output, begin, SEEK_SET);
        fwrite(&size, sizeof size, 1, output);
        fseek(output, 0, SEEK_END);
        ss_freeze_clock(e, 0);
        ss_read_events(e, events, sizeof events);
        at += prefix[1];
    }
    fclose(output);
    free(packets);
    free(results);
    free(ops);
    ss_destroy(e);
    return 0;
}
