/* SPDX-License-Identifier: Apache-2.0 */
/* The trace of a cell, drawn beforehand (trace.py): when each request starts and how long it takes. */
#ifndef TRACE_H
#define TRACE_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../native/frames.h"

struct drawn {
    uint64_t start_ns;   /* after the start of the load */
    uint64_t service_ns; /* on a node of full speed */
};

static inline const struct drawn *open_trace(const char *path, uint64_t *count)
{
    struct stat info;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &info))
        fail(path);
    const struct drawn *trace = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (trace == MAP_FAILED)
        fail(path);
    *count = (uint64_t)info.st_size / sizeof *trace;
    return trace;
}

#endif
