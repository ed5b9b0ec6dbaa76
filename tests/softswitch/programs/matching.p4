// Tables: every match kind with const entries, hit and miss, action_run, default actions with data, direct counters.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> which; bit<8> a; bit<16> b; bit<32> c; bit<128> d; }
header out_t { bit<32> result; bit<8> how; }
struct headers_t { in_t q; out_t r; }
struct metadata_t { }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.q); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    direct_counter(CounterType.packets_and_bytes) hits;
    action answer(bit<32> value) { hdr.r.result = value; }
    action wide(bit<128> value) { hdr.r.result = value[127:96] ^ value[31:0]; }
    action nothing() { }
    table exact_ {
        key = { hdr.q.a: exact; hdr.q.d: exact; }
        actions = { answer; wide; @defaultonly nothing; }
        default_action = nothing;
        const entries = {
            (1, 0x0123456789abcdef0011223344556677): answer(11);
            (2, 0): answer(12);
            (3, 0xffffffffffffffffffffffffffffffff): wide(0xff000000000000000000000000000001);
        }
    }
    table prefix {
        key = { hdr.q.c: lpm; hdr.q.a: exact; }
        actions = { answer; }
        default_action = answer(20);
        const entries = {
            (0x0a000000 &&& 0xff000000, 0): answer(21);
            (0x0a0a0000 &&& 0xffff0000, 0): answer(22);
            (0x0a0a0a01, 0): answer(23);
            (0x0a0a0000 &&& 0xfffe0000, 1): answer(24);
        }
    }
    table ternary_ {
        key = { hdr.q.b: ternary; hdr.q.c: lpm; hdr.q.a: exact; }
        actions = { answer; }
        default_action = answer(30);
        const entries = {
            (0x1200 &&& 0xff00, 0x0a000000 &&& 0xff000000, 5): answer(31);
            (_, 0x0a0a0000 &&& 0xffff0000, 5): answer(32);
            (0x1234, _, 5): answer(33);
            (_, _, 5): answer(34);
        }
    }
    table range_ {
        key = { hdr.q.b: range; hdr.q.a: ternary; hdr.q.c: range; }
        actions = { answer; }
        default_action = answer(40);
        const entries = {
            (100 .. 200, _, 0 .. 10): answer(41);
            (150 .. 300, 3 &&& 3, _): answer(42);
            (_, 8, 5 .. 5): answer(43);
        }
    }
    table managed {
        key = { hdr.q.a: exact; hdr.q.b: ternary; hdr.q.c: lpm; hdr.q.d: optional; }
        actions = { answer; wide; nothing; }
        default_action = answer(50);
        size = 64;
        counters = hits;
    }
    table routes { key = { hdr.q.c: lpm; } actions = { answer; nothing; } default_action = nothing; size = 512; }
    apply {
        std.egress_spec = 3;
        hdr.r.setValid();
        if (hdr.q.which == 1) { if (exact_.apply().hit) { hdr.r.how = 1; } else { hdr.r.how = 2; } }
        else if (hdr.q.which == 2) { prefix.apply(); }
        else if (hdr.q.which == 3) { if (!ternary_.apply().hit) { hdr.r.how = 9; } }
        else if (hdr.q.which == 4) { range_.apply(); }
        else if (hdr.q.which == 5) {
            switch (managed.apply().action_run) {
                answer: { hdr.r.how = 3; }
                wide: { hdr.r.how = 4; }
                default: { hdr.r.how = 5; }
            }
        }
        else if (hdr.q.which == 6) { routes.apply(); hdr.r.how = 6; }
        else { mark_to_drop(std); }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.q); packet.emit(hdr.r); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
