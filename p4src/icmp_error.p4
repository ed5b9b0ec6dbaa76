// SPDX-License-Identifier: Apache-2.0

// What the sender of a packet that goes no further is told, as a router must (RFC 1812, 4.3): its time is over, nobody
// is there, nothing takes it there, it is too big for the tunnel to its instance (RFC 1191).
//
// The answer goes back out of the packet's port, to where the frame came from. Nobody is told about an ICMP message other
// than an echo request, about a later fragment, or about a packet to a group; and at each port, no more than one in
// ERROR_INTERVAL on average, of which some may come at once. What does not fit is always told: without that, a
// connection would hang.

control IcmpError(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<usec_t, port_t>(PORTS) spent; // until when a port's share is used up
    usec_t ahead;

    // With a share that reaches further ahead than it may, the clock has been set back, or it was in the past.
    @hidden action read_share() {
        spent.read(ahead, meta.port);
        ahead = ahead - meta.now;
        if (ahead > ERROR_SPAN) { ahead = 0; }
        ahead = ahead + ERROR_INTERVAL;
    }

    @hidden action take_share() {
        spent.write(meta.port, meta.now + ahead);
    }

    @hidden action answer() {
        hdr.outer.setValid();
        hdr.outer.version = 4;
        hdr.outer.ihl = 5;
        hdr.outer.tos = 0;
        hdr.outer.total_len = ICMP_ERROR_BYTES;
        hdr.outer.identification = 0;
        hdr.outer.reserved = 0;
        hdr.outer.dont_fragment = 0;
        hdr.outer.more_fragments = 0;
        hdr.outer.fragment_offset = 0;
        hdr.outer.ttl = OWN_TTL;
        hdr.outer.protocol = PROTOCOL_ICMP;
        hdr.outer.src = hdr.ipv4.dst;
        hdr.outer.dst = hdr.ipv4.src;
        hdr.notice.setValid();
        hdr.notice.type = ICMP_UNREACHABLE;
        hdr.notice.code = (bit<8>)meta.code;
        hdr.notice.rest = 0;
        mac_t mac = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        std.egress_spec = meta.port;
        truncate(ETHERNET_BYTES + (bit<32>)ICMP_ERROR_BYTES + (meta.port == CPU_PORT ? PACKET_IN_BYTES : 0));
    }

    apply {
        bool whom = hdr.ipv4.total_len >= IPV4_BYTES + QUOTED_BYTES && hdr.ipv4.fragment_offset == 0
                    && hdr.ipv4.dst[31:29] != 7;
        if (hdr.tcp.isValid()) {
            meta.quoted = hdr.tcp.src_port ++ hdr.tcp.dst_port ++ hdr.tcp.sequence;
        } else if (hdr.udp.isValid()) {
            meta.quoted = hdr.udp.src_port ++ hdr.udp.dst_port ++ hdr.udp.length ++ hdr.udp.checksum;
        } else if (hdr.icmp.isValid()) {
            meta.quoted = hdr.icmp.type ++ hdr.icmp.code ++ hdr.icmp.checksum ++ hdr.icmp.rest;
        } else if (hdr.inner.isValid()) {
            meta.quoted = hdr.inner.version ++ hdr.inner.ihl ++ hdr.inner.tos ++ hdr.inner.total_len
                          ++ hdr.inner.identification ++ hdr.inner.reserved ++ hdr.inner.dont_fragment
                          ++ hdr.inner.more_fragments ++ hdr.inner.fragment_offset;
        } else if (hdr.beginning.isValid()) {
            meta.quoted = hdr.beginning.bytes;
        } else {
            whom = false;
        }
        if (hdr.ipv4.protocol == PROTOCOL_ICMP && meta.quoted[63:56] != ICMP_ECHO) { whom = false; }

        if (meta.too_big) {
            meta.code = unreachable_t.TOO_BIG;
            if (whom && hdr.ipv4.dont_fragment == 1) {
                answer();
                hdr.notice.rest = (bit<32>)(meta.path_mtu - IPV4_BYTES);
                meta.told = event_t.TOO_BIG;
            } else {
                meta.drop = drop_t.MTU; // nobody would put the fragments together again
            }
        } else if (whom) {
            read_share();
            if (ahead > ERROR_SPAN) {
                meta.told = event_t.LIMITED;
            } else {
                take_share();
                answer();
                meta.told = event_t.UNREACHABLE;
                if (meta.drop == drop_t.TTL || meta.drop == drop_t.NO_ROUTE) { hdr.outer.src = meta.own_address; }
                if (meta.drop == drop_t.TTL) {
                    hdr.notice.type = ICMP_TIME_EXCEEDED;
                    hdr.notice.code = 0;
                    meta.told = event_t.TIME_EXCEEDED;
                }
            }
        }
    }
}
