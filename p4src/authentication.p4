// SPDX-License-Identifier: Apache-2.0

// Does a report come from a holder of one of its binding's keys? Where the binding demands it (reports.p4), the tag
// must be the report's SipHash under the key that the report names. There are two, so that a key is replaced without a
// gap: the controller adds the next one, the node begins to use it, the controller takes the old one out. Key id 0 is
// no key.

control Authentication(in report_h report, inout metadata_t meta) {
    SipHash() siphash;
    bit<64> tag;

    apply {
        key_t key = meta.key;
        if (report.key_id != meta.key_id) { key = meta.next_key; }
        siphash.apply(report, key, tag);
        if (tag != report.tag || report.key_id == 0
            || (report.key_id != meta.key_id && report.key_id != meta.next_key_id)) {
            meta.drop = drop_t.REPORT_FORGED;
        }
    }
}
