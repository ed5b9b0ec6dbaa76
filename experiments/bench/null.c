/* SPDX-License-Identifier: Apache-2.0 */
/* The null forwarder: softswitch's own packet input and output with nothing in between but both MAC addresses rewritten.
 *
 *   null af_packet|af_xdp INTERFACE INTERFACE
 *
 * What comes in through one leaves through the other. Runs until it is killed. */
#define _GNU_SOURCE
#include <poll.h>

#include "../../softswitch/src/softswitch/runtime/packet_io.h"
#include "../native/frames.h"

enum { BURST = 64 };

static unsigned forward(struct ss_port_io *from, struct ss_port_io *to)
{
    static uint8_t heads[BURST][12];
    struct ss_received packets[BURST];
    uint64_t cut = 0;
    unsigned n = from->io->receive(from, packets, BURST, &cut);
    for (unsigned i = 0; i < n; i++) {
        put(heads[i], node_mac(0), 6);
        put(heads[i] + 6, switch_mac(), 6);
        to->io->send(to, heads[i], 12, packets[i].data + 12, packets[i].length - 12);
    }
    if (n)
        to->io->flush(to);
    from->io->release(from);
    return n;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const struct ss_io *io = strcmp(argv[1], "af_xdp") == 0 ? &ss_af_xdp : &ss_af_packet;
    struct ss_port_io *ports[2];
    struct pollfd wires[2];
    for (int i = 0; i < 2; i++) {
        ports[i] = io->open(argv[2 + i], (int)if_nametoindex(argv[2 + i]), 1500);
        if (!ports[i])
            fail(argv[2 + i]);
        wires[i] = (struct pollfd){.fd = ports[i]->fd, .events = POLLIN};
    }
    for (;;)
        if (forward(ports[0], ports[1]) + forward(ports[1], ports[0]) == 0)
            poll(wires, 2, -1);
}
