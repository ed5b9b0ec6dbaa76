/* SPDX-License-Identifier: Apache-2.0 */
/* Records what a port receives and sends in capture files, as BMv2 does. It stands around another way of packet I/O, so that a
 * port that is not recorded knows nothing of it. */
#define _GNU_SOURCE
#include "packet_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* draft-ietf-opsawg-pcap */
struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t reserved[2];
    uint32_t snap_length;
    uint32_t link_type;
};

struct packet_header {
    uint32_t seconds, microseconds;
    uint32_t captured, length;
};

enum { ETHERNET = 1, SNAP_LENGTH = 1 << 18 };

struct recorder {
    struct ss_port_io base;
    struct ss_port_io *inner;
    FILE *in, *out;
};

static FILE *open_file(const char *folder, const char *interface, const char *direction, int again)
{
    static const struct file_header header = {0xa1b2c3d4, 2, 4, {0, 0}, SNAP_LENGTH, ETHERNET};
    char *path;
    if (asprintf(&path, "%s/%s_%s.pcap", folder, interface, direction) < 0)
        return NULL;
    FILE *file = fopen(path, again ? "abe" : "wbe");
    free(path);
    /* readable from the start, also if no packet ever comes */
    if (file && !again && (fwrite(&header, sizeof header, 1, file) != 1 || fflush(file))) {
        fclose(file);
        return NULL;
    }
    return file;
}

static void record(FILE *file, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint32_t length = (uint32_t)(head_length + tail_length);
    struct packet_header header = {(uint32_t)now.tv_sec, (uint32_t)(now.tv_nsec / 1000), length, length};
    fwrite(&header, sizeof header, 1, file);
    fwrite(head, 1, head_length, file);
    if (tail_length)
        fwrite(tail, 1, tail_length, file);
}

static void recorder_close(struct ss_port_io *io)
{
    struct recorder *r = (struct recorder *)io;
    if (r->in)
        fclose(r->in);
    if (r->out)
        fclose(r->out);
    if (r->inner)
        r->inner->io->close(r->inner);
    free(r);
}

static unsigned recorder_receive(struct ss_port_io *io, struct ss_received *packets, unsigned limit, uint64_t *cut)
{
    struct recorder *r = (struct recorder *)io;
    unsigned n = r->inner->io->receive(r->inner, packets, limit, cut);
    for (unsigned i = 0; i < n; i++)
        record(r->in, packets[i].data, packets[i].length, NULL, 0);
    if (n)
        fflush(r->in);
    return n;
}

static void recorder_release(struct ss_port_io *io)
{
    struct recorder *r = (struct recorder *)io;
    r->inner->io->release(r->inner);
}

static int recorder_send(struct ss_port_io *io, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    struct recorder *r = (struct recorder *)io;
    int taken = r->inner->io->send(r->inner, head, head_length, tail, tail_length);
    if (taken)
        record(r->out, head, head_length, tail, tail_length);
    return taken;
}

static unsigned recorder_flush(struct ss_port_io *io)
{
    struct recorder *r = (struct recorder *)io;
    fflush(r->out);
    unsigned lost = r->inner->io->flush(r->inner);
    r->base.held_back = r->inner->held_back;
    return lost;
}

static const struct ss_io recording = {
    .close = recorder_close,
    .receive = recorder_receive,
    .release = recorder_release,
    .send = recorder_send,
    .flush = recorder_flush,
};

/* Takes `inner` over: closes it if it fails, which gives NULL and errno. `again` goes on with files that exist. */
struct ss_port_io *ss_record(struct ss_port_io *inner, const char *folder, const char *interface, int again)
{
    struct recorder *r = calloc(1, sizeof *r);
    if (!r) {
        inner->io->close(inner);
        return NULL;
    }
    r->base.io = &recording;
    r->base.fd = inner->fd;
    r->base.out = inner->out;
    r->inner = inner;
    r->in = open_file(folder, interface, "in", again);
    r->out = r->in ? open_file(folder, interface, "out", again) : NULL;
    if (r->in && r->out)
        return &r->base;
    int error = errno;
    recorder_close(&r->base);
    errno = error;
    return NULL;
}
