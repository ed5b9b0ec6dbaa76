// SPDX-License-Identifier: Apache-2.0

// Answers ARP for everything that is not behind the asker's own port: gateways, service addresses, and hosts behind
// other ports (proxy ARP). So every IPv4 packet comes to the switch as to a router, in one subnet or in several.

control Arp(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    // Answers with `mac`, unless the asker is behind port `home`, where the address's owner answers for itself. With
    // DROP_PORT every asker gets an answer.
    @id(0x01000001) @name(".reply")
    action reply(@id(1) mac_t mac, @id(2) port_t home) {
        hdr.arp.operation = 2;
        hdr.arp.target_mac = hdr.arp.sender_mac;
        hdr.arp.sender_mac = mac;
        ipv4_t asked = hdr.arp.target;
        hdr.arp.target = hdr.arp.sender;
        hdr.arp.sender = asked;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        std.egress_spec = meta.port;
        if (home == meta.port) { meta.drop = drop_t.ARP; }
    }

    @id(0x01000002) @name(".no_reply")
    action no_reply() {
        meta.drop = drop_t.ARP;
    }

    // One entry a gateway, one for the service prefix, one a host.
    @id(0x02000001) @name(".arp")
    table arp {
        key = {
            hdr.arp.target: lpm @id(1) @name("address");
        }
        actions = {
            reply;
            @defaultonly no_reply;
        }
        const default_action = no_reply;
        size = 4096;
    }

    apply {
        // A gratuitous request announces the sender's own address and wants no answer.
        if (hdr.arp.hardware_type == 1 && hdr.arp.protocol_type == ETHERTYPE_IPV4 && hdr.arp.hardware_size == 6
            && hdr.arp.protocol_size == 4 && hdr.arp.operation == 1 && hdr.arp.sender != hdr.arp.target) {
            arp.apply();
        } else {
            meta.drop = drop_t.ARP;
        }
    }
}
