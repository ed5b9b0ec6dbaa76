// SPDX-License-Identifier: Apache-2.0

// The checksums of IPv4 headers, and of the ICMP error that this switch sends: steering never touches layer 4. The
// answer to an ICMP echo mends its own (ping.p4). What the control plane sends goes out as it is.

control SteeringVerify(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid(), {
            hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.total_len, hdr.ipv4.identification,
            hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
            hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src, hdr.ipv4.dst }, hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control SteeringCompute(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid() && meta.kind != kind_t.CONTROL, {
            hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.total_len, hdr.ipv4.identification,
            hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
            hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src, hdr.ipv4.dst }, hdr.ipv4.checksum, HashAlgorithm.csum16);
        update_checksum(hdr.outer.isValid(), {
            hdr.outer.version, hdr.outer.ihl, hdr.outer.tos, hdr.outer.total_len, hdr.outer.identification,
            hdr.outer.reserved, hdr.outer.dont_fragment, hdr.outer.more_fragments, hdr.outer.fragment_offset,
            hdr.outer.ttl, hdr.outer.protocol, hdr.outer.src, hdr.outer.dst }, hdr.outer.checksum,
            HashAlgorithm.csum16);
        update_checksum(hdr.notice.isValid(), {
            hdr.notice.type, hdr.notice.code, hdr.notice.rest,
            hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.total_len, hdr.ipv4.identification,
            hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
            hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.checksum, hdr.ipv4.src, hdr.ipv4.dst, meta.quoted },
            hdr.notice.checksum, HashAlgorithm.csum16);
    }
}
