// Registers, counters, hashes, random, checksums with and without payload, exit, log_msg, assert, wide fields.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> op; bit<32> index; bit<48> value; bit<5> odd; bit<3> rest; }
header sum_t { bit<16> plain; bit<16> whole; bit<8> bad; }
header out_t { bit<64> result; bit<100> wide; bit<4> pad; int<16> signed; bit<16> skipping; }
header opaque_t { bit<320> blob; }
struct headers_t { in_t q; sum_t sums; out_t r; opaque_t o; }
struct metadata_t { bit<48> previous; bit<100> wide; bool flag; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.q);
        transition select(hdr.q.op) { 20 .. 29: sums; 30: opaque; default: accept; }
    }
    state sums { packet.extract(hdr.sums); transition accept; }
    state opaque { packet.extract(hdr.o); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.sums.isValid() && hdr.q.op == 20, { hdr.q.op, hdr.q.index, hdr.q.value, hdr.q.odd, hdr.q.rest },
            hdr.sums.plain, HashAlgorithm.csum16);
        verify_checksum_with_payload(hdr.sums.isValid() && hdr.q.op == 21, { hdr.q.op, hdr.q.index }, hdr.sums.whole,
            HashAlgorithm.csum16);
    }
}
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    register<bit<48>>(16) cells;
    register<bit<100>>(4) wides;
    register<bit<1>>(8) flags;
    counter(8, CounterType.packets_and_bytes) seen;
    action swap() {
        cells.read(meta.previous, hdr.q.index);
        cells.write(hdr.q.index, hdr.q.value);
        if (meta.previous > hdr.q.value) { hdr.r.result = 1; } else { hdr.r.result = 2; }
        hdr.r.signed = (int<16>)(bit<16>)hdr.q.value - 5;
    }
    action leave() { hdr.r.result = 77; exit; }
    table leaver { key = { hdr.q.index: exact; } actions = { leave; NoAction; } const entries = { 1: leave(); } default_action = NoAction; }
    apply {
        std.egress_spec = 5;
        hdr.r.setValid();
        meta.previous = 0xdead;
        if (hdr.q.op == 1) { swap(); hdr.r.wide = (bit<100>)meta.previous; }
        else if (hdr.q.op == 2) {
            wides.read(meta.wide, hdr.q.index);
            meta.wide = (meta.wide << 40) + (bit<100>)hdr.q.value;
            wides.write(hdr.q.index, meta.wide);
            hdr.r.wide = meta.wide;
        }
        else if (hdr.q.op == 3) { seen.count(hdr.q.index); }
        else if (hdr.q.op == 4) {
            bit<32> a; bit<16> b; bit<16> c; bit<16> d; bit<32> e;
            hash(a, HashAlgorithm.crc32, 32w0, { hdr.q.index, hdr.q.value, hdr.q.odd }, 64w0x100000000);
            hash(b, HashAlgorithm.crc16, 16w0, { hdr.q.index, hdr.q.value }, 32w0x10000);
            hash(c, HashAlgorithm.csum16, 16w0, { hdr.q.value, hdr.q.op }, 32w0x10000);
            hash(d, HashAlgorithm.xor16, 16w0, { hdr.q.value, hdr.q.op }, 32w0x10000);
            hash(e, HashAlgorithm.identity, 32w100, { hdr.q.value }, 32w1000);
            hdr.r.result = a ++ b ++ c;
            hdr.r.wide = (bit<100>)(d ++ e);
        }
        else if (hdr.q.op == 5) { bit<16> x; random(x, (bit<16>)hdr.q.index, (bit<16>)hdr.q.value); hdr.r.result = (bit<64>)x; }
        else if (hdr.q.op == 6) { leaver.apply(); hdr.r.wide = 9; }
        else if (hdr.q.op == 7) { log_msg("index {} of {}", { hdr.q.index, hdr.q.value }); }
        else if (hdr.q.op == 8) { assert(hdr.q.index != 3); }
        else if (hdr.q.op == 9) {
            bit<1> old;
            flags.read(old, hdr.q.index);
            flags.write(hdr.q.index, ~old);
            meta.flag = old == 1;
            hdr.r.result = meta.flag ? 64w5 : 6;
        }
        else if (hdr.q.op == 10) { hdr.q.odd = hdr.q.odd + 9; hdr.q.rest = hdr.q.rest - 1; hdr.q.value = hdr.q.value * 3; }
        else if (hdr.q.op == 20 || hdr.q.op == 21) { hdr.sums.bad = (bit<8>)std.checksum_error; }
        else if (hdr.q.op == 22) { hdr.q.value = hdr.q.value + 1; }
        else if (hdr.q.op == 30) { hdr.o.setInvalid(); hdr.q.op = 31; }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.sums.isValid() && hdr.q.op == 22, { hdr.q.op, hdr.q.index, hdr.q.value, hdr.q.odd, hdr.q.rest },
            hdr.sums.plain, HashAlgorithm.csum16);
        // fields of headers that are not there are left out
        update_checksum(hdr.r.isValid(), { hdr.q.op, hdr.q.odd, hdr.sums.plain, hdr.sums.bad, hdr.q.rest, hdr.r.result },
            hdr.r.skipping, HashAlgorithm.csum16);
        update_checksum_with_payload(hdr.sums.isValid() && hdr.q.op == 22, { hdr.q.op, hdr.q.index }, hdr.sums.whole,
            HashAlgorithm.csum16);
    }
}
control D(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr.q); packet.emit(hdr.sums); packet.emit(hdr.o); packet.emit(hdr.r); }
}
V1Switch(P(), V(), I(), E(), C(), D()) main;
