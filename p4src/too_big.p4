// SPDX-License-Identifier: Apache-2.0

// A packet too big for the tunnel to its instance. If it must not be fragmented, its sender is told how big a packet may
// be (RFC 1191), in the name of the service; else it is dropped, since nobody would put the fragments together again.

control TooBig(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
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
        hdr.notice.code = FRAGMENTATION_NEEDED;
        hdr.notice.rest = (bit<32>)(meta.path_mtu - IPV4_BYTES);
        mac_t mac = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        std.egress_spec = meta.port;
        truncate(ETHERNET_BYTES + (bit<32>)ICMP_ERROR_BYTES + (meta.port == CPU_PORT ? PACKET_IN_BYTES : 0));
    }

    apply {
        if (hdr.ipv4.dont_fragment == 1 && hdr.tcp.isValid()) {
            meta.quoted = hdr.tcp.src_port ++ hdr.tcp.dst_port ++ hdr.tcp.sequence;
            answer();
        } else if (hdr.ipv4.dont_fragment == 1 && hdr.udp.isValid()) {
            meta.quoted = hdr.udp.src_port ++ hdr.udp.dst_port ++ hdr.udp.length ++ hdr.udp.checksum;
            answer();
        } else {
            meta.drop = drop_t.MTU;
        }
    }
}
