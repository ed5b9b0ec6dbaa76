// Tables whose keys are fields of headers that may be absent: each kind of match, a header taken away, members of a union. The header `answer` says which entry each table had; an absent header is looked up as zero.
#include <core.p4>
#include <v1model.p4>

header base_t { bit<8> kind; bit<8> asked; }
header fields_t { bit<16> x; bit<24> prefix; bit<128> wide; }
header other_t { bit<8> x; }
header answer_t {
    bit<8> exact_; bit<8> lpm_; bit<8> ternary_; bit<8> range_; bit<8> optional_; bit<8> wide_; bit<8> element; bit<8> member;
    bit<8> guarded; bit<16> read;
}
header_union either_t { fields_t fields; other_t other; }
struct headers_t { base_t base; fields_t a; fields_t[2] st; either_t u; answer_t answer; }
struct metadata_t { }
struct learned_t { bit<16> x; bit<24> prefix; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.base);
        transition select(hdr.base.kind) { 1: one; 2: stack; 3: fields; 4: other; default: accept; }
    }
    state one { packet.extract(hdr.a); transition accept; }
    state stack { packet.extract(hdr.st.next); transition one; }
    state fields { packet.extract(hdr.u.fields); transition accept; }
    state other { packet.extract(hdr.u.other); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action exact_is(bit<8> n) { hdr.answer.exact_ = n; }
    action lpm_is(bit<8> n) { hdr.answer.lpm_ = n; }
    action ternary_is(bit<8> n) { hdr.answer.ternary_ = n; }
    action range_is(bit<8> n) { hdr.answer.range_ = n; }
    action optional_is(bit<8> n) { hdr.answer.optional_ = n; }
    action wide_is(bit<8> n) { hdr.answer.wide_ = n; }
    action element_is(bit<8> n) { hdr.answer.element = n; }
    action member_is(bit<8> n) { hdr.answer.member = n; }
    action guarded_is(bit<8> n) { hdr.answer.guarded = n; }
    table exact_t {
        key = { hdr.a.x: exact; } actions = { exact_is; NoAction; }
        const default_action = NoAction;
        const entries = { 0: exact_is(1); 7: exact_is(2); }
    }
    table lpm_t {
        key = { hdr.a.prefix: lpm; } actions = { lpm_is; NoAction; }
        const default_action = NoAction;
        const entries = { 0: lpm_is(1); 0x070000 &&& 0xff0000: lpm_is(2); 0 &&& 0: lpm_is(3); }
    }
    table ternary_t {
        key = { hdr.a.x: ternary; hdr.a.prefix: ternary; } actions = { ternary_is; NoAction; }
        const default_action = NoAction;
        const entries = { (0, 0): ternary_is(1); (_, 7 &&& 15): ternary_is(2); (7 &&& 7, _): ternary_is(3); }
    }
    table range_t {
        key = { hdr.a.x: range; } actions = { range_is; NoAction; }
        const default_action = NoAction;
        const entries = { 0..1: range_is(1); 5..9: range_is(2); 0..0xfffe: range_is(3); }
    }
    table optional_t {
        key = { hdr.a.x: optional; hdr.base.kind: optional; } actions = { optional_is; NoAction; }
        const default_action = NoAction;
        const entries = { (0, _): optional_is(1); (7, 1): optional_is(2); (_, 2): optional_is(3); }
    }
    table wide_t {
        key = { hdr.a.wide: exact; } actions = { wide_is; NoAction; }
        const default_action = NoAction;
        const entries = { 0: wide_is(1); 128w7: wide_is(2); }
    }
    table element_t {
        key = { hdr.st[0].x: exact; } actions = { element_is; NoAction; }
        const default_action = NoAction;
        const entries = { 0: element_is(1); 7: element_is(2); }
    }
    table member_t {
        key = { hdr.u.fields.x: exact; hdr.u.other.x: exact; } actions = { member_is; NoAction; }
        const default_action = NoAction;
        const entries = { (0, 0): member_is(1); (7, 0): member_is(2); (0, 7): member_is(3); }
    }
    table guarded_t {
        key = { hdr.a.x: exact; } actions = { guarded_is; NoAction; }
        const default_action = NoAction;
        const entries = { 0: guarded_is(1); 7: guarded_is(2); }
    }
    apply {
        std.egress_spec = 2;
        hdr.answer.setValid();
        if (hdr.base.asked == 1) { hdr.a.setInvalid(); }
        exact_t.apply();
        lpm_t.apply();
        ternary_t.apply();
        range_t.apply();
        optional_t.apply();
        wide_t.apply();
        member_t.apply();
        if (hdr.a.isValid()) { guarded_t.apply(); }
        // what P4 leaves open, and BMv2 answers with an earlier packet; the key is one that p4c reads beforehand
        if (hdr.base.asked == 2) { element_t.apply(); hdr.answer.read = hdr.a.x; digest<learned_t>(1, { hdr.a.x, hdr.a.prefix }); }
        // elements out of range
        bit<8> i = hdr.base.kind;
        if (hdr.base.asked == 3) { hdr.st[i].setValid(); hdr.st[i].x = 9; hdr.answer.read = hdr.st[i].x; }
        if (hdr.base.asked == 4) { hdr.answer.read = hdr.st[i].x; }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.answer); packet.emit(hdr); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
