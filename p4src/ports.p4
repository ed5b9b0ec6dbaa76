// SPDX-License-Identifier: Apache-2.0

// Who speaks at a port (BCP 38: RFC 2827, RFC 3704): a packet's source, of ARP its sender, is one that may come from
// there, and the frame is for this switch. Nothing is learned from what comes: what may come is in the entries. A report's
// copy keeps the MAC address of the switch that took it first; its binding says where it may come from.

control Ports(in headers_t hdr, inout metadata_t meta) {
    ipv4_t source;

    // Frames are for `mac` there, and what the switch has to say at that port it says as `address`.
    @id(0x01000060) @name(".speak")
    action speak(@id(1) mac_t mac, @id(2) ipv4_t address) {
        meta.own_mac = mac;
        meta.own_address = address;
    }

    @id(0x01000061) @name(".no_speaker")
    action no_speaker() {
        meta.drop = drop_t.SOURCE;
    }

    // One entry an address that a port's machine sends from: its own, those of the services that it may answer for. Behind
    // a link to another switch there are several machines. Where a port takes any source, no_speaker excepts some.
    @id(0x02000060) @name(".sources")
    table sources {
        key = {
            meta.port: exact @id(1) @name("port");
            source: lpm @id(2) @name("source");
        }
        actions = {
            speak;
            no_speaker;
        }
        const default_action = no_speaker;
        size = 16384;
    }

    apply {
        source = hdr.ipv4.src;
        if (meta.kind == kind_t.ARP) { source = hdr.arp.sender; }
        sources.apply();
        if (meta.drop == drop_t.NONE && hdr.ethernet.dst != meta.own_mac && meta.kind != kind_t.REPORT
            && !(meta.kind == kind_t.ARP && hdr.ethernet.dst == BROADCAST)) {
            meta.drop = drop_t.FOREIGN;
        }
    }
}
