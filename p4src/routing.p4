// SPDX-License-Identifier: Apache-2.0

// IPv4 routing, for plain packets and for steered ones, which go to their node as over any routed hop: MACs set, TTL
// less one, layer 4 untouched. The node owns the service's address and answers the client itself.

control Routing(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    // Who sits behind a port may speak there before anything is sent to it.
    @id(0x01000040) @name(".forward")
    action forward(@id(1) @refers_to(sources, port) port_t port, @id(2) mac_t source, @id(3) mac_t destination) {
        if (hdr.ipv4.ttl <= 1) {
            meta.drop = drop_t.TTL;
            meta.tell = true;
        } else {
            std.egress_spec = port;
            hdr.ethernet.src = source;
            hdr.ethernet.dst = destination;
            hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
        }
    }

    @id(0x01000041) @name(".no_route")
    action no_route() {
        meta.drop = drop_t.NO_ROUTE;
        meta.tell = true;
        meta.code = unreachable_t.NET;
    }

    // The network is here, and nobody has this address of it.
    @id(0x01000062) @name(".no_host")
    action no_host() {
        meta.drop = drop_t.NO_ROUTE;
        meta.tell = true;
        meta.code = unreachable_t.HOST;
    }

    // It is the switch's own, and what was sent there is nothing that `endpoints` knows.
    @id(0x01000063) @name(".own")
    action own() {
        meta.drop = drop_t.NO_PORT;
        meta.tell = true;
        meta.code = unreachable_t.PORT;
    }

    // One entry a host or subnet, one for the service prefix, one an address of the switch's own: gateway, services, reports.
    // A route to CPU_PORT hands packets to the P4Runtime clients.
    @id(0x02000040) @name(".routes")
    table routes {
        key = {
            meta.next: lpm @id(1) @name("address");
        }
        actions = {
            forward;
            no_route;
            no_host;
            own;
        }
        const default_action = no_route;
        size = 4096;
    }

    apply {
        routes.apply();
        if (meta.drop == drop_t.NO_PORT) {
            if (hdr.ipv4.more_fragments == 1 || hdr.ipv4.fragment_offset != 0) {
                // To a service, most likely: only the first fragment says which port.
                meta.drop = drop_t.FRAGMENT;
                meta.code = unreachable_t.PROHIBITED;
            } else if (!hdr.tcp.isValid() && !hdr.udp.isValid()) {
                meta.code = unreachable_t.PROTOCOL;
            }
        }
    }
}
