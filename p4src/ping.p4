// SPDX-License-Identifier: Apache-2.0

// Answers an ICMP echo request to one of the switch's own addresses, a service's or a gateway's.

control Ping(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    @hidden action answer() {
        hdr.icmp.type = ICMP_ECHO_REPLY;
        // RFC 1624: the word with the type falls by 0x0800, so the ones' complement checksum rises by it.
        bit<17> sum = (bit<17>)hdr.icmp.checksum + 0x0800;
        hdr.icmp.checksum = sum[15:0] + (bit<16>)sum[16:16];
        ipv4_t address = hdr.ipv4.dst;
        hdr.ipv4.dst = hdr.ipv4.src;
        hdr.ipv4.src = address;
        hdr.ipv4.ttl = OWN_TTL;
        mac_t mac = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        std.egress_spec = meta.port;
    }

    apply {
        if (hdr.icmp.isValid() && hdr.icmp.type == ICMP_ECHO && hdr.icmp.code == 0) {
            answer();
        } else {
            meta.drop = drop_t.ICMP;
        }
    }
}
