// SPDX-License-Identifier: Apache-2.0

// Ethernet, ARP, IPv4 and what steering needs to see above it. A fragment, an odd IPv4 header or an unknown protocol ends
// the parse: Guard and Classify say what becomes of it.

parser SteeringParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        transition select(std.ingress_port, meta.from_cpu) {
            (CPU_PORT, _): from_cpu;
            (_, 1): from_cpu;
            default: ethernet;
        }
    }
    state from_cpu {
        packet.extract(hdr.packet_out);
        transition ethernet;
    }
    state ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: ipv4;
            ETHERTYPE_ARP: arp;
            ETHERTYPE_VLAN: vlan;
            default: accept;
        }
    }
    state vlan {
        packet.extract(hdr.vlan);
        transition select(hdr.vlan.vlan, hdr.vlan.ether_type) {
            (0, ETHERTYPE_IPV4): ipv4;
            (0, ETHERTYPE_ARP): arp;
            default: accept;
        }
    }
    state arp {
        packet.extract(hdr.arp);
        transition accept;
    }
    state ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                          hdr.ipv4.protocol) {
            (4, 5, 0, 0, PROTOCOL_ICMP): icmp;
            (4, 5, 0, 0, PROTOCOL_IPIP): inner;
            (4, 5, 0, 0, PROTOCOL_TCP): tcp;
            (4, 5, 0, 0, PROTOCOL_UDP): udp;
            (4, 5, _, 0, _): unknown;
            default: accept;
        }
    }
    state unknown {
        transition select(hdr.ipv4.total_len) {
            0 .. IPV4_BYTES + QUOTED_BYTES - 1: accept;
            default: beginning;
        }
    }
    state beginning {
        packet.extract(hdr.beginning);
        transition accept;
    }
    state icmp {
        packet.extract(hdr.icmp);
        transition select(hdr.icmp.type) {
            ICMP_UNREACHABLE: icmp_error;
            ICMP_TIME_EXCEEDED: icmp_error;
            ICMP_PARAMETER: icmp_error;
            default: accept;
        }
    }
    state icmp_error {
        transition select(hdr.ipv4.total_len) {
            0 .. ICMP_ERROR_BYTES - 1: accept;
            default: quoted_ipv4;
        }
    }
    state quoted_ipv4 {
        packet.extract(hdr.quoted_ipv4);
        transition select(hdr.quoted_ipv4.version, hdr.quoted_ipv4.ihl, hdr.quoted_ipv4.fragment_offset,
                          hdr.quoted_ipv4.protocol) {
            (4, 5, 0, PROTOCOL_TCP): quoted;
            (4, 5, 0, PROTOCOL_UDP): quoted;
            default: accept;
        }
    }
    state quoted {
        packet.extract(hdr.quoted);
        transition accept;
    }
    state inner {
        packet.extract(hdr.inner);
        transition select(hdr.ipv4.total_len) {
            0 .. IPV4_BYTES + IPV4_BYTES + QUOTED_BYTES - 1: accept;
            default: beginning;
        }
    }
    state tcp {
        packet.extract(hdr.tcp);
        meta.src_port = hdr.tcp.src_port;
        meta.dst_port = hdr.tcp.dst_port;
        transition accept;
    }
    state udp {
        packet.extract(hdr.udp);
        meta.src_port = hdr.udp.src_port;
        meta.dst_port = hdr.udp.dst_port;
        transition select(hdr.udp.length) {
            0 .. UDP_BYTES + INVOCATION_BYTES - 1: accept;
            default: datagram;
        }
    }
    state datagram {
        transition select(hdr.udp.length, packet.lookahead<bit<16>>()) {
            (UDP_BYTES + REPORT_BYTES, REPORT_MAGIC): report;
            (_, INVOCATION_MAGIC): invocation;
            default: accept;
        }
    }
    state report {
        packet.extract(hdr.report);
        transition accept;
    }
    state invocation {
        packet.extract(hdr.invocation);
        transition accept;
    }
}

control SteeringDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.vlan);
        packet.emit(hdr.arp);
        packet.emit(hdr.outer);
        packet.emit(hdr.notice);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.inner);
        packet.emit(hdr.beginning);
        packet.emit(hdr.icmp);
        packet.emit(hdr.quoted_ipv4);
        packet.emit(hdr.quoted);
        packet.emit(hdr.tcp);
        packet.emit(hdr.udp);
        packet.emit(hdr.report);
        packet.emit(hdr.invocation);
    }
}
