/* Preloaded into a switch: the clock that it stamps packets by shows what the file CLOCK_FILE says.
 *
 * The file holds nanoseconds, 64 bits in the machine's byte order; nothing but another number in it makes the clock go
 * on. Only calls from objects or functions with one of CLOCK_CALLERS (with colons between them) in their path or name
 * are told so: the rest of the process has timers that need the true time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000

enum { PLACES = 64 };

static volatile const int64_t *shown;
static const char *callers;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void prepare(void)
{
    int file = open(getenv("CLOCK_FILE"), O_RDONLY);
    void *map = mmap(NULL, sizeof *shown, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        abort();
    close(file);
    callers = getenv("CLOCK_CALLERS");
    shown = map;
}

static int is_one_of_callers(const char *name)
{
    size_t length;
    for (const char *at = callers; *at; at += length + (at[length] == ':')) {
        length = strcspn(at, ":");
        if (name && length && memmem(name, strlen(name), at, length))
            return 1;
    }
    return 0;
}

/* Whether this place in the code is in what keeps the packets' time; remembered, since looking it up takes long. */
static int is_concerned(void *place)
{
    static _Thread_local struct {
        void *place;
        int concerned;
    } known[PLACES];
    unsigned at = (unsigned)((uintptr_t)place >> 2) % PLACES;
    if (known[at].place != place) {
        Dl_info who;
        known[at].concerned =
            shown && dladdr(place, &who) && (is_one_of_callers(who.dli_fname) || is_one_of_callers(who.dli_sname));
        known[at].place = place;
    }
    return known[at].concerned;
}

static int64_t now_ns(clockid_t id)
{
    struct timespec now;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real(id, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (!is_concerned(__builtin_return_address(0)))
        return real(id, now);
    int64_t ns = *shown;
    now->tv_sec = ns / SECOND;
    now->tv_nsec = ns % SECOND;
    return 0;
}

/* std::chrono::system_clock::now(): one step nearer to who asks than clock_gettime. */
int64_t system_clock_now(void) __asm__("_ZNSt6chrono3_V212system_clock3nowEv");

int64_t system_clock_now(void)
{
    return is_concerned(__builtin_return_address(0)) ? *shown : now_ns(CLOCK_REALTIME);
}
