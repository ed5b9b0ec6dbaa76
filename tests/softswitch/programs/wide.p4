// Numbers of more than 128 bits everywhere that a number can stand: fields, arithmetic, keys, action data, registers, hashes,
// lookahead, selects, preserved metadata.
#include <core.p4>
#include <v1model.p4>

header in_t {
    bit<8>   op;
    bit<8>   amount;
    bit<3>   odd;
    bit<203> a;
    bit<10>  gap;
    int<160> s;
    bit<256> b;
}
header out_t { bit<203> r; bit<5> flags; int<160> t; bit<512> product; bit<16> sum; }
struct headers_t { in_t q; out_t o; }
struct metadata_t { @field_list(1) bit<256> kept; bit<256> ahead; bit<256> looked; }

const bit<256> MAGIC = 0x123456789abcdef00fedcba9876543210000111122223333444455556666777;

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.q);
        transition select(hdr.q.b) {
            MAGIC: magic;
            0x77 &&& 0xff: masked;
            default: accept;
        }
    }
    state magic { meta.looked = 1; meta.ahead = packet.lookahead<bit<256>>(); transition accept; }
    state masked {
        meta.looked = 2;
        transition select(packet.lookahead<bit<136>>()) { 1: more; default: accept; }
    }
    state more { meta.looked = meta.looked + 256w0x1000000000000000000000000000000000000; transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<200>>(4) cells;
    action answer(bit<203> value, bit<4> flags) { hdr.o.r = value; hdr.o.flags = (bit<5>)flags; }
    table exact_ {
        key = { hdr.q.b: exact; hdr.q.odd: exact; }
        actions = { answer; NoAction; }
        const entries = {
            (MAGIC, 1): answer(203w0x7000000000000000000000000000000000000000000000000001, 3);
            (0x77, 2): answer(5, 1);
        }
        default_action = answer(1, 9);
    }
    table ternary_ {
        key = { hdr.q.a: ternary; hdr.q.b: lpm; }
        actions = { answer; }
        const entries = {
            (203w1 << 150 &&& 203w1 << 150, 256w0x12 << 248 &&& 256w0xff << 248): answer(203w1 << 202, 2);
            (_, 256w0x12 << 248 &&& 256w0xff << 248): answer(7, 4);
            (3 &&& 3, _): answer(6, 6);
        }
        default_action = answer(0, 8);
    }
    apply {
        std.egress_spec = 3;
        hdr.o.setValid();
        if (hdr.q.op == 1) { hdr.o.r = hdr.q.a + 203w0x7fffffffffffffffffffffffffffffffffffffffffffffffff; }
        else if (hdr.q.op == 2) { hdr.o.r = hdr.q.a |+| (bit<203>)hdr.q.b; hdr.o.product = (bit<512>)(hdr.q.b |-| (bit<256>)hdr.q.a); }
        else if (hdr.q.op == 3) { hdr.o.product = (bit<512>)hdr.q.b * (bit<512>)hdr.q.a; }
        else if (hdr.q.op == 4) { hdr.o.r = hdr.q.a << hdr.q.amount; hdr.o.product = (bit<512>)(hdr.q.b >> hdr.q.amount); }
        else if (hdr.q.op == 5) { hdr.o.t = hdr.q.s >> hdr.q.amount; hdr.o.flags = hdr.q.s < 0 ? 5w1 : 2; }
        else if (hdr.q.op == 6) { hdr.o.t = -hdr.q.s; hdr.o.product = ~(bit<512>)hdr.q.b; }
        else if (hdr.q.op == 7) { hdr.o.r = hdr.q.b[230:28] ^ hdr.q.a; hdr.o.product[511:256] = hdr.q.b; }
        else if (hdr.q.op == 8) { hdr.o.product = hdr.q.b ++ hdr.q.a[202:0] ++ hdr.q.b[52:0]; }
        else if (hdr.q.op == 9) {
            bit<200> old;
            cells.read(old, (bit<32>)hdr.q.amount[1:0]);
            cells.write((bit<32>)hdr.q.amount[1:0], old ^ hdr.q.b[199:0]);
            hdr.o.product = (bit<512>)old;
        }
        else if (hdr.q.op == 10) { exact_.apply(); }
        else if (hdr.q.op == 11) { ternary_.apply(); }
        else if (hdr.q.op == 12) { hdr.o.product = (bit<512>)meta.looked << 256 | (bit<512>)meta.ahead; }
        else if (hdr.q.op == 13 && std.instance_type == 0) { meta.kept = hdr.q.b + 1; resubmit_preserving_field_list(1); }
        else if (hdr.q.op == 13) { hdr.o.product = (bit<512>)meta.kept; }
        else if (hdr.q.op == 14) {
            bit<32> h;
            hash(h, HashAlgorithm.crc32, 32w0, { hdr.q.odd, hdr.q.a, hdr.q.gap, hdr.q.b }, 64w0x100000000);
            hdr.o.t = (int<160>)(bit<160>)h;
        }
        else if (hdr.q.op == 15) {
            hdr.o.flags[0:0] = hdr.q.b > (bit<256>)hdr.q.a ? 1w1 : 0;
            hdr.o.flags[1:1] = hdr.q.b[202:0] == hdr.q.a ? 1w1 : 0;
            hdr.o.flags[2:2] = hdr.q.a <= 203w1 << 140 ? 1w1 : 0;
        }
        else if (hdr.q.op == 16) { hdr.o.t = hdr.q.s |+| hdr.q.s; hdr.o.r = hdr.q.a - hdr.q.b[202:0]; }
        else if (hdr.q.op == 17) { hdr.q.a = hdr.q.a + 1; hdr.q.s = hdr.q.s - 1; hdr.q.b = hdr.q.b & MAGIC | (bit<256>)hdr.q.a; }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.o.isValid(), { hdr.q.op, hdr.q.amount, hdr.q.odd, hdr.q.a, hdr.q.gap, hdr.q.s, hdr.o.product },
            hdr.o.sum, HashAlgorithm.csum16);
    }
}
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.q); packet.emit(hdr.o); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
