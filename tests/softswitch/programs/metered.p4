// What changes with time and with the control plane's wishes: meters, idle timeouts, value sets.
//
// A packet is {which 8, key 8}, after it whatever makes it long. The colour of the meter that `which` names, or what
// the table said, goes into a header of its own. The parser looks `which` and `key` up in value sets.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> which; bit<8> key; }
header more_t { bit<4> high; bit<12> low; }
header out_t { bit<8> colour; bit<8> value; bit<8> way; }
struct headers_t { in_t q; more_t more; out_t r; }
struct metadata_t { bit<8> way; bit<2> colour; }

struct pair_t { bit<4> high; bit<12> low; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    value_set<bit<8>>(3) deep;
    value_set<pair_t>(4) pairs;
    state start {
        packet.extract(hdr.q);
        transition select(hdr.q.which) {
            deep: more;
            default: accept;
        }
    }
    state more {
        meta.way = 1;
        packet.extract(hdr.more);
        transition select(hdr.more.high, hdr.more.low) {
            (1, 0x111): fixed;
            pairs: known;
            default: accept;
        }
    }
    state fixed { meta.way = 2; transition accept; }
    state known { meta.way = 3; transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    meter(4, MeterType.packets) by_packets;
    meter(4, MeterType.bytes) by_bytes;
    direct_meter<bit<2>>(MeterType.packets) own;
    direct_counter(CounterType.packets_and_bytes) hits;

    action mark(bit<8> value) { own.read(meta.colour); hdr.r.value = value; }
    action answer(bit<8> value) { hdr.r.value = value; }

    table metered {
        key = { hdr.q.key: exact @name("key"); }
        actions = { mark; @defaultonly NoAction; }
        default_action = NoAction();
        meters = own;
        counters = hits;
        size = 8;
    }
    table ageing {
        key = { hdr.q.key: ternary @name("key"); }
        actions = { answer; NoAction; }
        default_action = NoAction();
        support_timeout = true;
        size = 8;
    }
    apply {
        std.egress_spec = 3;
        hdr.r.setValid();
        hdr.r.colour = 9;
        hdr.r.value = 0;
        hdr.r.way = meta.way;
        meta.colour = 3;
        if (hdr.q.which == 1) { by_packets.execute_meter((bit<32>)hdr.q.key, hdr.r.colour); }
        else if (hdr.q.which == 2) { by_bytes.execute_meter((bit<32>)hdr.q.key, hdr.r.colour); }
        else if (hdr.q.which == 3) { metered.apply(); hdr.r.colour = (bit<8>)meta.colour; }
        else if (hdr.q.which == 4) { ageing.apply(); }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.q); packet.emit(hdr.more); packet.emit(hdr.r); }
}
V1Switch(P(), V(), I(), E(), C(), D()) main;
