// SPDX-License-Identifier: Apache-2.0

// SipHash-2-4 (Aumasson and Bernstein, 2012) of the 44 bytes of a report before its tag. The paper reads key and message
// as little-endian words; the tag is the resulting number.

struct siphash_t {
    bit<64> v0;
    bit<64> v1;
    bit<64> v2;
    bit<64> v3;
}

bit<64> little_endian(in bit<64> x) {
    return x[7:0] ++ x[15:8] ++ x[23:16] ++ x[31:24] ++ x[39:32] ++ x[47:40] ++ x[55:48] ++ x[63:56];
}

control SipRound(inout siphash_t s) {
    @hidden action mix() {
        s.v0 = s.v0 + s.v1;
        s.v1 = (s.v1[50:0] ++ s.v1[63:51]) ^ s.v0;
        s.v0 = s.v0[31:0] ++ s.v0[63:32];
        s.v2 = s.v2 + s.v3;
        s.v3 = (s.v3[47:0] ++ s.v3[63:48]) ^ s.v2;
        s.v0 = s.v0 + s.v3;
        s.v3 = (s.v3[42:0] ++ s.v3[63:43]) ^ s.v0;
        s.v2 = s.v2 + s.v1;
        s.v1 = (s.v1[46:0] ++ s.v1[63:47]) ^ s.v2;
        s.v2 = s.v2[31:0] ++ s.v2[63:32];
    }

    apply {
        mix();
    }
}

control SipCompress(inout siphash_t s, in bit<64> bytes) {
    SipRound() round;

    apply {
        bit<64> word = little_endian(bytes);
        s.v3 = s.v3 ^ word;
        round.apply(s);
        round.apply(s);
        s.v0 = s.v0 ^ word;
    }
}

control SipHash(in report_h report, in key_t key, out bit<64> tag) {
    SipCompress() compress;
    SipRound() round;
    siphash_t s;

    apply {
        bit<64> k0 = little_endian(key[127:64]);
        bit<64> k1 = little_endian(key[63:0]);
        s.v0 = k0 ^ 0x736f6d6570736575;
        s.v1 = k1 ^ 0x646f72616e646f6d;
        s.v2 = k0 ^ 0x6c7967656e657261;
        s.v3 = k1 ^ 0x7465646279746573;
        compress.apply(s, report.magic ++ report.version ++ report.reserved_flags ++ report.draining ++ report.ready
                          ++ report.service_id ++ report.node_id);
        compress.apply(s, report.epoch ++ report.sequence);
        compress.apply(s, report.cpu ++ report.cpu_own ++ report.memory ++ report.queue_depth);
        compress.apply(s, report.in_flight ++ report.concurrency ++ report.backlog);
        compress.apply(s, report.service_interval ++ report.received);
        compress.apply(s, report.key_id ++ report.contention ++ report.reserved ++ 24w0 ++ 8w44); // ends with the length
        s.v2 = s.v2 ^ 0xff;
        round.apply(s);
        round.apply(s);
        round.apply(s);
        round.apply(s);
        tag = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    }
}
