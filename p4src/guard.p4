// SPDX-License-Identifier: Apache-2.0

// Only whole, well-formed Ethernet frames with ARP or IPv4 get any further. BMv2 drops neither parser errors nor bad
// checksums by itself. A tag that says only how urgent the frame is comes off (IEEE 802.1Q: VLAN 0); behind any other,
// the parser finds neither ARP nor IPv4.

control Guard(inout headers_t hdr, inout metadata_t meta, in standard_metadata_t std) {
    @hidden action untag() {
        hdr.ethernet.ether_type = hdr.vlan.ether_type;
        hdr.vlan.setInvalid();
    }

    apply {
        bit<32> overhead = ETHERNET_BYTES + (meta.from_cpu == 1 ? PACKET_OUT_BYTES : 0);
        if (hdr.vlan.isValid()) {
            overhead = overhead + VLAN_BYTES;
            untag();
        }
        // Ethernet may pad a short frame, so the frame can be longer than the datagram, never shorter.
        if (std.parser_error != error.NoError) {
            meta.drop = drop_t.PARSER;
        } else if (hdr.ipv4.isValid()) {
            if (hdr.ipv4.version != 4 || hdr.ipv4.ihl != 5) {
                meta.drop = drop_t.OPTIONS;
            } else if (std.checksum_error == 1) {
                meta.drop = drop_t.CHECKSUM;
            } else if (hdr.ipv4.total_len < IPV4_BYTES || (bit<32>)hdr.ipv4.total_len + overhead > std.packet_length
                       || (hdr.icmp.isValid() && hdr.ipv4.total_len < IPV4_BYTES + ICMP_BYTES)
                       || (hdr.tcp.isValid()
                           && (hdr.tcp.data_offset < 5
                               || hdr.ipv4.total_len < IPV4_BYTES + ((bit<16>)hdr.tcp.data_offset << 2)))
                       || (hdr.udp.isValid()
                           && (hdr.udp.length < UDP_BYTES || hdr.udp.length |+| IPV4_BYTES > hdr.ipv4.total_len))) {
                meta.drop = drop_t.LENGTH;
            } else if (hdr.ethernet.dst[40:40] == 1) {
                meta.drop = drop_t.MULTICAST;
            }
        } else if (!hdr.arp.isValid()) {
            meta.drop = drop_t.ETHERTYPE;
        }
    }
}
