// SPDX-License-Identifier: Apache-2.0

// The tunnel to an instance behind another switch: IPv4 in IPv4 (RFC 2003).
//
//   client -> [Encapsulation: outer header on] -> switches that route by it -> [Decapsulation: outer header off] -> node
//
// The packet inside stays as the client sent it, but for the TTL and what routers on the way marked. It was steered where
// it went in, so where it comes out it goes to the node that the outer header names, whatever the endpoints there say. It
// comes out only if it came from the tunnel's other end, and by the port that this is behind.

control Encapsulation(inout headers_t hdr, in metadata_t meta) {
    @hidden action encapsulate() {
        hdr.outer.setValid();
        hdr.outer.version = 4;
        hdr.outer.ihl = 5;
        hdr.outer.tos = hdr.ipv4.tos;
        hdr.outer.total_len = hdr.ipv4.total_len + IPV4_BYTES;
        hdr.outer.identification = 0;
        hdr.outer.reserved = 0;
        hdr.outer.dont_fragment = 1; // nothing puts fragments together again where it ends
        hdr.outer.more_fragments = 0;
        hdr.outer.fragment_offset = 0;
        hdr.outer.ttl = OWN_TTL;
        hdr.outer.protocol = PROTOCOL_IPIP;
        hdr.outer.src = meta.tunnel_source;
        hdr.outer.dst = meta.next;
    }

    apply {
        encapsulate();
    }
}

control Decapsulation(inout headers_t hdr, inout metadata_t meta) {
    bit<16> sum;

    @id(0x01000050) @name(".decapsulate")
    action decapsulate(@id(1) port_t port) {
        if (meta.port != port) { meta.drop = drop_t.TUNNEL; }
    }

    @id(0x01000064) @name(".no_tunnel")
    action no_tunnel() {
        meta.drop = drop_t.TUNNEL;
    }

    // For each node behind this switch one entry a switch that steers to it, with the address that its tunnel starts
    // from, and one for all other sources.
    @id(0x02000050) @name(".tunnels")
    table tunnels {
        key = {
            hdr.ipv4.dst: exact @id(1) @name("address") @refers_to(routes, address);
            hdr.ipv4.src: lpm @id(2) @name("source");
        }
        actions = {
            decapsulate;
            no_tunnel;
            @defaultonly NoAction;
        }
        const default_action = NoAction;
        size = 4096;
    }

    @hidden action add_up() {
        hash(sum, HashAlgorithm.csum16, 16w0, {
            hdr.inner.version, hdr.inner.ihl, hdr.inner.tos, hdr.inner.total_len, hdr.inner.identification,
            hdr.inner.reserved, hdr.inner.dont_fragment, hdr.inner.more_fragments, hdr.inner.fragment_offset,
            hdr.inner.ttl, hdr.inner.protocol, hdr.inner.checksum, hdr.inner.src, hdr.inner.dst }, 32w0x10000);
    }

    // What routers in the tunnel have marked goes on with the packet (RFC 6040).
    @hidden action take_out(bit<2> mark) {
        hdr.ipv4 = hdr.inner;
        hdr.inner.setInvalid();
        if (mark == CONGESTION_EXPERIENCED || (mark == CAPABLE_1 && hdr.ipv4.tos[1:0] == CAPABLE_0)) {
            hdr.ipv4.tos[1:0] = mark;
        }
    }

    apply {
        if (tunnels.apply().hit && meta.drop == drop_t.NONE) {
            add_up();
            if (!hdr.inner.isValid()) {
                meta.drop = drop_t.FRAGMENT;
            } else if (hdr.inner.version != 4 || hdr.inner.ihl != 5) {
                meta.drop = drop_t.OPTIONS;
            } else if (sum != 0) {
                meta.drop = drop_t.CHECKSUM;
            } else if (hdr.inner.total_len < IPV4_BYTES
                       || hdr.inner.total_len |+| IPV4_BYTES > hdr.ipv4.total_len) {
                meta.drop = drop_t.LENGTH;
            } else if (hdr.inner.ttl <= 1) {
                take_out(NOT_CAPABLE);
                meta.drop = drop_t.TTL;
                meta.tell = true;
            } else if (hdr.ipv4.tos[1:0] == CONGESTION_EXPERIENCED && hdr.inner.tos[1:0] == NOT_CAPABLE) {
                meta.drop = drop_t.CONGESTION;
            } else {
                take_out(hdr.ipv4.tos[1:0]);
            }
        }
    }
}
