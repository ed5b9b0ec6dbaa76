// What a packet learns of the queue that it was in.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> port; bit<8> priority; bit<32> number; }
header told_t {
    bit<48> arrived; bit<48> left; bit<32> enq_timestamp; bit<32> enq_qdepth; bit<32> deq_timedelta; bit<32> deq_qdepth;
}
struct headers_t { told_t told; in_t q; }
struct metadata_t { }

parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.q); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply { } }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = (bit<9>)hdr.q.port;
        std.priority = (bit<3>)hdr.q.priority;
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        hdr.told.setValid();
        hdr.told.arrived = std.ingress_global_timestamp;
        hdr.told.left = std.egress_global_timestamp;
        hdr.told.enq_timestamp = std.enq_timestamp;
        hdr.told.enq_qdepth = (bit<32>)std.enq_qdepth;
        hdr.told.deq_timedelta = std.deq_timedelta;
        hdr.told.deq_qdepth = (bit<32>)std.deq_qdepth;
    }
}
control C(inout headers_t hdr, inout metadata_t meta) { apply { } }
control D(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.told); packet.emit(hdr.q); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
