/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled programs: opened, given memory and their traced variant, closed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine.h"
#include "meter.h"
#include "profile.h"

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* Untouched pages of a mapping cost nothing, and it starts as zero. */
static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void unmap(void *at, size_t bytes)
{
    if (at)
        munmap(at, bytes + 1);
}

static size_t recirculating_bytes(const struct ss_loaded *l) { return l->recirculating_stride * SS_RECIRCULATING; }

static int allocate(struct ss_loaded *l)
{
    const struct ss_program *p = l->program;
    struct ss_state *s = &l->state;
    l->phv_stride = aligned(p->phv_size);
    l->head_stride = aligned(p->headers_limit + 16);
    l->recirculating_stride = l->phv_stride + SS_FRAME_LIMIT;
    l->phvs = aligned_alloc(64, l->phv_stride * (SS_PHVS + SS_CLONES));
    l->heads = aligned_alloc(64, l->head_stride * SS_HEADS);
    l->recirculating = map(recirculating_bytes(l));
    s->tables = calloc(p->n_tables + 1, sizeof *s->tables);
    s->profiles = calloc(p->n_profiles + 1, sizeof *s->profiles);
    s->counters = calloc(p->n_counters + 1, sizeof *s->counters);
    s->meters = calloc(p->n_meters + 1, sizeof *s->meters);
    s->registers = calloc(p->n_registers + 1, sizeof *s->registers);
    if (!l->phvs || !l->heads || !l->recirculating)
        return -1;
    if (!s->tables || !s->profiles || !s->counters || !s->meters || !s->registers)
        return -1;
    memset(l->phvs, 0, l->phv_stride * (SS_PHVS + SS_CLONES));
    for (uint32_t i = 0; i < p->n_tables; i++)
        if (ss_table_create(&s->tables[i], &p->tables[i]))
            return -1;
    for (uint32_t i = 0; i < p->n_profiles; i++)
        ss_profile_create(&s->profiles[i], &p->profiles[i]);
    for (uint32_t i = 0; i < p->n_meters; i++)
        if (!(s->meters[i] = map(p->meters[i].size * sizeof(struct ss_meter))))
            return -1;
    for (uint32_t i = 0; i < p->n_counters; i++)
        if (!(s->counters[i] = map(p->counters[i].size * sizeof(struct ss_cell))))
            return -1;
    for (uint32_t i = 0; i < p->n_registers; i++)
        if (!(s->registers[i] = map((size_t)p->registers[i].size * p->registers[i].cell)))
            return -1;
    return 0;
}

/* Closes a program that does not run; NULL is none. */
void ss_discard(struct ss_loaded *l)
{
    if (!l)
        return;
    const struct ss_program *p = l->program;
    struct ss_state *s = &l->state;
    for (uint32_t i = 0; s->tables && i < p->n_tables; i++)
        if (s->tables[i].layout)
            ss_table_destroy(&s->tables[i]);
    for (uint32_t i = 0; s->profiles && i < p->n_profiles; i++)
        ss_profile_destroy(&s->profiles[i]);
    for (uint32_t i = 0; s->meters && i < p->n_meters; i++)
        unmap(s->meters[i], p->meters[i].size * sizeof(struct ss_meter));
    for (uint32_t i = 0; s->counters && i < p->n_counters; i++)
        unmap(s->counters[i], p->counters[i].size * sizeof(struct ss_cell));
    for (uint32_t i = 0; s->registers && i < p->n_registers; i++)
        unmap(s->registers[i], (size_t)p->registers[i].size * p->registers[i].cell);
    free(s->tables);
    free(s->profiles);
    free(s->counters);
    free(s->meters);
    free(s->registers);
    free(l->phvs);
    free(l->heads);
    unmap(l->recirculating, recirculating_bytes(l));
    if (l->traced_library)
        dlclose(l->traced_library);
    dlclose(l->library);
    free(l);
}

static const struct ss_program *open_library(const char *path, void **library, char *error, size_t room)
{
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct ss_program *program = *library ? dlsym(*library, "ss_program") : NULL;
    if (program && program->abi == SS_ABI)
        return program;
    snprintf(error, room, "%s", program ? "compiled for another version of the engine" : dlerror());
    if (*library)
        dlclose(*library);
    return NULL;
}

/* Opens a program that `ss_swap` can make the running one. Returns NULL, with a message, when that is not possible. */
struct ss_loaded *ss_open(struct ss_engine *e, const char *path, char *error, size_t room)
{
    void *library;
    const struct ss_program *program = open_library(path, &library, error, room);
    if (!program)
        return NULL;
    struct ss_loaded *l = calloc(1, sizeof *l);
    if (!l) {
        dlclose(library);
        snprintf(error, room, "out of memory");
        return NULL;
    }
    l->library = library;
    l->program = l->fast = program;
    l->state.host = &e->host;
    if (allocate(l)) {
        ss_discard(l);
        snprintf(error, room, "out of memory for the program's tables and registers");
        return NULL;
    }
    return l;
}

static int add_traced(struct ss_loaded *l, const char *path, char *error, size_t room)
{
    void *library;
    const struct ss_program *traced = open_library(path, &library, error, room);
    if (!traced)
        return -1;
    l->traced_library = library;
    l->traced = traced;
    return 0;
}

struct attachment {
    struct ss_command command;
    struct ss_loaded *loaded; /* NULL: the running program */
    const char *path;
    char *error;
    size_t room;
    int result;
};

static void do_attach(struct ss_engine *e, struct ss_command *c)
{
    struct attachment *a = (struct attachment *)c;
    struct ss_loaded *l = a->loaded ? a->loaded : e->loaded;
    a->result = l->traced ? 0 : add_traced(l, a->path, a->error, a->room);
}

/* Gives a program its traced variant, unless it has it. Returns 0, or -1 with a message. */
int ss_attach_traced(struct ss_engine *e, struct ss_loaded *l, const char *path, char *error, size_t room)
{
    struct attachment a = {{.run = do_attach}, l, path, error, room, 0};
    ss_execute(e, &a.command);
    return a.result;
}
