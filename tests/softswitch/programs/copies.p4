// Clone, digest, resubmit, multicast, drop, recirculate, truncate, and what survives each.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> op; bit<8> arg; bit<16> group; }
header trace_t {
    bit<32> instance_type; bit<16> ingress_port; bit<16> egress_port; bit<16> rid; bit<8> rounds; bit<8> lost;
    bit<32> length; bit<8> op;
}
struct headers_t { trace_t trace; in_t q; }
struct metadata_t {
    @field_list(1, 2) bit<8> rounds;
    @field_list(1, 2) bit<9> port;
    bit<8> lost;
}
struct seen_t { bit<8> rounds; bit<9> port; bit<48> key; }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.q); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (std.instance_type == 0) { meta.port = std.ingress_port; }
        std.egress_spec = 4;
        meta.lost = 1;
        if (hdr.q.op == 1) { clone_preserving_field_list(CloneType.I2E, (bit<32>)hdr.q.arg, 1); meta.rounds = 7; hdr.q.group = 0xffff; }
        else if (hdr.q.op == 2 && meta.rounds < hdr.q.arg) { meta.rounds = meta.rounds + 1; resubmit_preserving_field_list(2); }
        else if (hdr.q.op == 3) { std.mcast_grp = hdr.q.group; }
        else if (hdr.q.op == 4) { std.mcast_grp = hdr.q.group; mark_to_drop(std); }
        else if (hdr.q.op == 5) { digest<seen_t>(1, { hdr.q.arg, std.ingress_port, 48w0xabcdef123456 }); mark_to_drop(std); }
        else if (hdr.q.op == 6) { truncate((bit<32>)hdr.q.arg); }
        else if (hdr.q.op == 9) { std.priority = 1; }
        else if (hdr.q.op == 10) { clone_preserving_field_list(CloneType.I2E, (bit<32>)hdr.q.arg, 1); mark_to_drop(std); }
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (hdr.q.op == 7 && meta.rounds < hdr.q.arg) { meta.rounds = meta.rounds + 1; recirculate_preserving_field_list(1); }
        else {
            hdr.trace.setValid();
            hdr.trace.instance_type = std.instance_type;
            hdr.trace.ingress_port = (bit<16>)std.ingress_port;
            hdr.trace.egress_port = (bit<16>)std.egress_port;
            hdr.trace.rid = std.egress_rid;
            hdr.trace.rounds = meta.rounds;
            hdr.trace.lost = meta.lost;
            hdr.trace.length = std.packet_length;
            hdr.trace.op = hdr.q.op;
            if (hdr.q.op == 8 && std.instance_type == 0) { clone_preserving_field_list(CloneType.E2E, (bit<32>)hdr.q.arg, 1); }
            if (hdr.q.op == 11) { mark_to_drop(std); }
        }
    }
}
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.trace); packet.emit(hdr.q); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
