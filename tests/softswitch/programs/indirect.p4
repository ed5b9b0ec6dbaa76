// Indirect tables: an action profile that two tables share, and action selectors with different hashes.
//
// A packet is {which 8, key 8, salt 16, more 32}; `which` names the table. The answer goes into a header of its own.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> which; bit<8> key; bit<16> salt; bit<32> more; }
header out_t { bit<16> value; bit<8> how; }
struct headers_t { in_t q; out_t r; }
struct metadata_t { }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.q); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action_profile(8) shared;
    @max_group_size(6) action_selector(HashAlgorithm.crc32, 32w16, 32w14) spread;
    action_selector(HashAlgorithm.crc16, 32w16, 32w14) skewed;
    direct_counter(CounterType.packets_and_bytes) hits;

    action answer(bit<16> value) { hdr.r.value = value; }
    action send(bit<9> port, bit<16> value) { std.egress_spec = port; hdr.r.value = value; }
    action drop() { mark_to_drop(std); }

    table first {
        key = { hdr.q.key: exact @name("key"); }
        actions = { answer; send; drop; }
        implementation = shared;
        size = 4;
    }
    table second {
        key = { hdr.q.key: ternary @name("key"); }
        actions = { answer; send; drop; }
        implementation = shared;
        size = 4;
    }
    table spreading {
        key = { hdr.q.key: exact @name("key"); hdr.q.salt: selector; hdr.q.more: selector; }
        actions = { answer; send; drop; }
        implementation = spread;
        counters = hits;
        size = 4;
    }
    table skewing {
        key = { hdr.q.key: lpm @name("key"); hdr.q.more: selector; hdr.q.salt: selector; }
        actions = { answer; send; }
        implementation = skewed;
        size = 64;
    }
    apply {
        std.egress_spec = 3;
        hdr.r.setValid();
        hdr.r.value = 0;
        hdr.r.how = 0;
        if (hdr.q.which == 1) {
            if (first.apply().hit) { hdr.r.how = 1; } else { hdr.r.how = 2; }
        } else if (hdr.q.which == 2) {
            second.apply();
            hdr.r.how = 3;
        } else if (hdr.q.which == 3) {
            switch (spreading.apply().action_run) {
                answer: { hdr.r.how = 4; }
                send: { hdr.r.how = 5; }
                default: { hdr.r.how = 6; }
            }
        } else {
            if (!skewing.apply().hit) { hdr.r.how = 7; }
        }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.q); packet.emit(hdr.r); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
