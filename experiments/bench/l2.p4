// The least that two hosts need of a switch: a frame leaves by its destination's port, and one that is for all, or for nobody
// known, by the port it did not come in at. It looks at Ethernet alone, so what TCP and UDP carry is left as it came.
#include <core.p4>
#include <v1model.p4>

typedef bit<48> mac_t;
typedef bit<9> port_t;

const port_t FIRST_HOST = 1;
const port_t SECOND_HOST = 2;

header ethernet_t { mac_t dst; mac_t src; bit<16> type; }
struct headers_t { ethernet_t ethernet; }
struct metadata_t { }

parser L2Parser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.ethernet); transition accept; }
}
control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control L2(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action forward(port_t port) { std.egress_spec = port; }
    action to_the_other() { std.egress_spec = FIRST_HOST + SECOND_HOST - std.ingress_port; }
    table hosts {
        key = { hdr.ethernet.dst : exact; }
        actions = { forward; to_the_other; }
        default_action = to_the_other();
        const entries = {
            0x020000000001 : forward(FIRST_HOST);
            0x020000000002 : forward(SECOND_HOST);
        }
    }
    apply { hosts.apply(); }
}
control NoEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control NoCompute(inout headers_t hdr, inout metadata_t meta) { apply { } }
control L2Deparser(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.ethernet); } }
V1Switch(L2Parser(), NoVerify(), L2(), NoEgress(), NoCompute(), L2Deparser()) main;
