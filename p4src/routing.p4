// SPDX-License-Identifier: Apache-2.0

// IPv4 routing, for plain packets and for steered ones, which go to their node as over any routed hop: MACs set, TTL
// less one, layer 4 untouched. The node owns the service's address and answers the client itself.

control Routing(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    @id(0x01000040) @name(".forward")
    action forward(@id(1) port_t port, @id(2) mac_t source, @id(3) mac_t destination) {
        std.egress_spec = port;
        hdr.ethernet.src = source;
        hdr.ethernet.dst = destination;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }

    @id(0x01000041) @name(".no_route")
    action no_route() {
        meta.drop = drop_t.NO_ROUTE;
    }

    // One entry a host or subnet. A route to CPU_PORT hands packets to the P4Runtime clients.
    @id(0x02000040) @name(".routes")
    table routes {
        key = {
            meta.next: lpm @id(1) @name("address");
        }
        actions = {
            forward;
            no_route;
        }
        const default_action = no_route;
        size = 4096;
    }

    apply {
        if (routes.apply().miss && (hdr.ipv4.more_fragments == 1 || hdr.ipv4.fragment_offset != 0)) {
            // To a service, most likely, and only the first fragment says which.
            meta.drop = drop_t.FRAGMENT;
        }
    }
}
