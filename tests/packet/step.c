/* Preloaded into a switch: its clock shows what the system's does and as much more as the file STEP_FILE says.
 *
 * Only calls from objects with STEP_CALLER in their path are told so: the rest of the process has timers that need the
 * true time. STEP_FILE holds nanoseconds, 64 bits in the machine's byte order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *step;
static const char *caller;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void prepare(void)
{
    int file = open(getenv("STEP_FILE"), O_RDONLY);
    void *map = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        abort();
    close(file);
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    caller = getenv("STEP_CALLER");
    step = map;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    Dl_info who;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (step && dladdr(__builtin_return_address(0), &who) && who.dli_fname && strstr(who.dli_fname, caller)) {
        int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + *step;
        now->tv_sec = ns / 1000000000;
        now->tv_nsec = ns % 1000000000;
    }
    return result;
}
