/* SPDX-License-Identifier: Apache-2.0 */
/* Sends one report for each instance of some services, so that all are eligible.
 *
 *   announce INTERFACE FIRST COUNT MEMBERS
 *
 * Services FIRST to FIRST + COUNT - 1, each with members 0 to MEMBERS - 1. */
#define _GNU_SOURCE
#include "../native/frames.h"

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int fd = open_raw(argv[1], 1 << 20);
    unsigned first = (unsigned)atoi(argv[2]), count = (unsigned)atoi(argv[3]), members = (unsigned)atoi(argv[4]);
    struct report report = {.sequence = 1, .service_interval = 10};
    for (unsigned s = first; s < first + count; s++)
        for (unsigned m = 0; m < members; m++) {
            uint8_t frame[FRAME];
            if (send(fd, frame, report_frame(frame, SERVICE_IDS + s, m, &report), 0) < 0)
                fail("send");
            wait_until(NULL, 0, now_ns() + 200000); /* no burst that a switch's queue could not hold */
        }
    return 0;
}
