// Header unions and stacks of them, varbit fields in assignments and comparisons, headers compared whole, headers of a stack
// at an index known at run time only, statements of the deparser.
#include <core.p4>
#include <v1model.p4>

header op_t { bit<8> op; bit<8> kind; bit<8> arg; }
header short_t { bit<8> kind; bit<8> x; }
header long_t { bit<8> kind; bit<32> y; }
header text_t { bit<8> kind; bit<8> length; varbit<64> body; bit<8> end; }
header_union option_t { short_t s; long_t l; text_t t; }
header note_t { bit<8> value; bit<8> flags; }
struct headers_t { op_t op; note_t note; option_t one; option_t other; option_t[3] many; text_t copy; text_t[2] texts; }
struct metadata_t { bit<8> left; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.op);
        meta.left = hdr.op.arg & 0xf;
        transition select(hdr.op.kind) { 1: short_; 2: long_; 3: text; 4: many; 5: twice; 6: texts; default: accept; }
    }
    state short_ { packet.extract(hdr.one.s); transition accept; }
    state long_ { packet.extract(hdr.one.l); transition accept; }
    state text {
        packet.extract(hdr.one.t, (bit<32>)packet.lookahead<bit<16>>()[7:0] << 3);
        transition accept;
    }
    // what is extracted last into a union is what it holds
    state twice { packet.extract(hdr.one.s); packet.extract(hdr.one.l); packet.extract(hdr.other.s); transition accept; }
    state many {
        meta.left = meta.left - 1;
        transition select(meta.left, packet.lookahead<bit<8>>()) {
            (0xff, _): accept;
            (_, 1): many_short;
            (_, 2): many_long;
            default: many_text;
        }
    }
    state many_short { packet.extract(hdr.many.next.s); transition many; }
    state many_long { packet.extract(hdr.many.next.l); transition many; }
    state many_text { packet.extract(hdr.many.next.t, (bit<32>)packet.lookahead<bit<16>>()[7:0] << 3); transition many; }
    state texts {
        packet.extract(hdr.texts.next, (bit<32>)packet.lookahead<bit<16>>()[7:0] << 3);
        packet.extract(hdr.texts.next, (bit<32>)packet.lookahead<bit<16>>()[7:0] << 3);
        transition accept;
    }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action held(bit<8> flags) { hdr.note.flags = flags; }
    table which {
        key = { hdr.one.s.isValid(): exact; hdr.one.l.isValid(): exact; hdr.one.t.isValid(): exact; }
        actions = { held; NoAction; }
        const entries = {
            (true, false, false): held(1);
            (false, true, false): held(2);
            (false, false, true): held(4);
        }
        default_action = NoAction;
    }
    apply {
        std.egress_spec = 4;
        hdr.note.setValid();
        hdr.note.value = std.parser_error == error.NoError ? 8w0 : 1;
        if (!hdr.op.isValid()) { return; }
        which.apply();
        if (hdr.one.isValid()) { hdr.note.flags = hdr.note.flags | 0x80; }
        if (hdr.op.op == 1) { hdr.one.s.setValid(); hdr.one.s.kind = 9; hdr.one.s.x = hdr.op.arg; }
        else if (hdr.op.op == 2) { hdr.one.l.setValid(); hdr.one.l.y = 0x01020304; }
        else if (hdr.op.op == 3) { hdr.one.s.setInvalid(); hdr.one.l.setInvalid(); }
        else if (hdr.op.op == 4) { hdr.other = hdr.one; }
        else if (hdr.op.op == 5) { hdr.other = hdr.one; hdr.one.s.setValid(); hdr.one.s = { 7, 8 }; }
        else if (hdr.op.op == 6) { hdr.many[1] = hdr.many[0]; }
        else if (hdr.op.op == 7) { hdr.many[0].l.setValid(); hdr.many[0].l = { 5, 6 }; hdr.many[2].s.setInvalid(); }
        else if (hdr.op.op == 8) { hdr.copy = hdr.one.t; hdr.copy.end = hdr.copy.end + 1; }
        // BMv2 dies of the assignment of a varbit field that is empty
        else if (hdr.op.op == 9 && hdr.one.t.isValid() && hdr.one.t.length != 0) { hdr.copy.setValid(); hdr.copy.kind = 3; hdr.copy.body = hdr.one.t.body; hdr.copy.end = 0xed; }
        else if (hdr.op.op == 10) { if (hdr.texts[0] == hdr.texts[1]) { hdr.note.value = 0x55; } }
        else if (hdr.op.op == 11 && hdr.texts[1].isValid() && hdr.texts[1].length != 0) { hdr.texts[0].body = hdr.texts[1].body; hdr.texts[1].setInvalid(); }
        else if (hdr.op.op == 12 && hdr.texts[0].isValid() && hdr.texts[1].isValid()) { if (hdr.texts[0].body == hdr.texts[1].body) { hdr.note.value = 0x66; } }
        else if (hdr.op.op == 13 && hdr.many[0].s.isValid()) { hdr.note.value = hdr.many[0].s.x; }
        else if (hdr.op.op == 14) { hdr.texts.push_front(1); }
        else if (hdr.op.op == 15) { hdr.texts.pop_front(1); }
        else if (hdr.op.op == 16) { hdr.many.push_front(1); }
        else if (hdr.op.op == 17) { hdr.many.pop_front(1); }
        else if (hdr.op.op == 18 && hdr.texts[0].body == hdr.texts[1].body) { hdr.note.value = 0x77; }
        else if (hdr.op.op == 19 && hdr.texts[1].isValid() && hdr.texts[1].length != 0) { hash(hdr.texts[1].end, HashAlgorithm.crc16, 8w0, { hdr.op.arg, hdr.texts[1].body, hdr.texts[1].kind }, 16w256); }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) {
    apply {
        log_msg("sending {}", { hdr.op.op });
        packet.emit(hdr.op); packet.emit(hdr.note); packet.emit(hdr.one); packet.emit(hdr.other); packet.emit(hdr.many);
        packet.emit(hdr.copy); packet.emit(hdr.texts);
    }
}
V1Switch(P(), V(), I(), E(), C(), D()) main;
