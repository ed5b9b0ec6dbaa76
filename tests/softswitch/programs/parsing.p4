// Parser constructs: stacks, lookahead, varbit, masks and ranges in selects, advance, verify, every core error.
#include <core.p4>
#include <v1model.p4>

error { BadVersion }

header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
header hop_t { bit<1> bos; bit<15> port; }
header options_t { bit<8> length; varbit<64> body; }
header tail_t { bit<16> value; bit<8> check; }
header note_t { bit<32> parser_error; bit<8> depth; bit<16> ahead; bit<8> state; bit<16> sum; }

struct headers_t { ethernet_t ethernet; note_t note; hop_t[4] hops; options_t options; tail_t tail; }
struct metadata_t { bit<16> ahead; bit<8> state; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            0x1000: hops;
            0x2000 &&& 0xff00: options;
            0x3000 .. 0x30ff: peek;
            0x4000: skip;
            0x5000: checked;
            0x6000 .. 0x6fff: ranged;
            default: accept;
        }
    }
    state hops {
        packet.extract(hdr.hops.next);
        transition select(hdr.hops.last.bos) { 1: accept; default: hops; }
    }
    state options {
        packet.extract(hdr.options, (bit<32>)(packet.lookahead<bit<8>>() << 3));
        transition tail;
    }
    state peek {
        meta.ahead = packet.lookahead<bit<16>>();
        transition select(meta.ahead, packet.lookahead<bit<4>>()) {
            (0xbeef, _): tail;
            (_, 0x7): hops;
            default: accept;
        }
    }
    state skip { packet.advance(16); transition tail; }
    state checked {
        packet.extract(hdr.tail);
        verify(hdr.tail.check == 7, error.BadVersion);
        meta.state = 5;
        transition accept;
    }
    state ranged {
        meta.state = 6;
        transition select(hdr.ethernet.type[11:0], hdr.ethernet.src[7:0]) {
            (0x010 .. 0x123, 1): tail;
            (_, 2 &&& 0x3): hops;
            (0x456, _): tail;
        }
    }
    state tail { packet.extract(hdr.tail); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 2;
        hdr.note.setValid();
        if (std.parser_error == error.NoError) { hdr.note.parser_error = 0; }
        else if (std.parser_error == error.PacketTooShort) { hdr.note.parser_error = 1; }
        else if (std.parser_error == error.StackOutOfBounds) { hdr.note.parser_error = 3; }
        else if (std.parser_error == error.HeaderTooShort) { hdr.note.parser_error = 4; }
        else if (std.parser_error == error.BadVersion) { hdr.note.parser_error = 100; }
        else { hdr.note.parser_error = 200; }
        hdr.note.ahead = meta.ahead;
        hdr.note.state = meta.state;
        if (hdr.hops[0].isValid()) {
            hdr.note.depth = 1;
            if (hdr.hops[0].port == 0x7f) { hdr.hops.push_front(2); hdr.hops[1].setValid(); hdr.hops[1].port = 0x55; }
            else if (hdr.hops[0].port == 0x3f) { hdr.hops[1] = hdr.hops[0]; hdr.hops[1].port = hdr.hops[1].port + 1; }
            else { hdr.hops.pop_front(1); }
        }
        // an index known at run time only
        bit<2> index = hdr.ethernet.dst[1:0];
        if (hdr.ethernet.dst[2:2] == 1) { hdr.hops[index].port = hdr.ethernet.dst[22:8]; }
        if (hdr.tail.isValid()) { hdr.tail.value = hdr.tail.value |+| 0x0fff; }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.options.isValid(), { hdr.options.length, hdr.options.body, hdr.ethernet.type, hdr.tail.value },
            hdr.note.sum, HashAlgorithm.csum16);
    }
}
control D(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.note); packet.emit(hdr.ethernet); packet.emit(hdr.hops); packet.emit(hdr.options);
        packet.emit(hdr.tail);
    }
}
V1Switch(P(), V(), I(), E(), C(), D()) main;
