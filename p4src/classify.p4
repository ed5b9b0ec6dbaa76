// SPDX-License-Identifier: Apache-2.0

// What a packet is to this switch: a request to a service, a report, a ping to one of its own addresses, or plain IPv4.

control Classify(in headers_t hdr, inout metadata_t meta) {
    ipv4_t  address;
    bit<8>  protocol;
    bit<16> port;

    @id(0x01000003) @name(".to_service")
    action to_service(@id(1) @refers_to(services, service) @refers_to(policies, service) service_t service) {
        meta.kind = kind_t.REQUEST;
        meta.service = service;
    }

    @id(0x01000004) @name(".to_reports")
    action to_reports() {
        meta.kind = kind_t.REPORT;
    }

    @id(0x01000005) @name(".to_ping")
    action to_ping() {
        meta.kind = kind_t.PING;
    }

    @id(0x01000006) @name(".elsewhere")
    action elsewhere() {
        meta.kind = kind_t.PLAIN;
    }

    // One entry a service's address, protocol and port; one for the fabric's report address; one with protocol 1 and
    // port 0 for every address that answers pings.
    @id(0x02000002) @name(".endpoints") @entry_restriction("protocol == 1 -> port == 0")
    table endpoints {
        key = {
            address: exact @id(1) @name("address") @refers_to(arp, address);
            protocol: exact @id(2) @name("protocol");
            port: exact @id(3) @name("port");
        }
        actions = {
            to_service;
            to_reports;
            to_ping;
            @defaultonly elsewhere;
        }
        const default_action = elsewhere;
        size = 1024;
    }

    apply {
        if (hdr.arp.isValid()) {
            meta.kind = kind_t.ARP;
        } else {
            address = hdr.ipv4.dst;
            protocol = hdr.ipv4.protocol;
            port = meta.dst_port;
            if (hdr.quoted.isValid() && hdr.quoted_ipv4.src == address) {
                // An ICMP error about a packet that its addressee sent: it concerns the flow which that was of.
                meta.quotes = true;
                protocol = hdr.quoted_ipv4.protocol;
                port = hdr.quoted.src_port;
            }
            endpoints.apply();
            meta.next = hdr.ipv4.dst;
        }
    }
}
