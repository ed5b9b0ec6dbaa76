// One of each P4Runtime entity, for the server's conformance tests.
//
// Packets are a 6-byte header {kind 8, tag 16, value 16, pad 8}. A packet is also reported as a digest when its kind
// is 1, goes to the controller when it is 2, is forwarded by `keyless_table` when it is 3 and by `const_table` when it
// is 7, and by the first of `exact_table`, `lpm_table`, `ternary_table` that knows it otherwise. A pad of 0xff clones it.
#include <core.p4>
#include <v1model.p4>

const bit<9> CPU_PORT = 510;

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<7> inject;  // 1: into the pipeline, as a packet of the CPU port
}

header message_t {
    bit<8>  kind;
    bit<16> tag;
    bit<16> value;
    bit<8>  pad;
}

struct headers_t {
    packet_in_t  packet_in;
    packet_out_t packet_out;
    message_t    message;
}

struct metadata_t { }

struct seen_t {
    bit<16> tag;
    bit<16> value;
}

parser EverythingParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t smeta) {
    state start {
        transition select(smeta.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_message;
        }
    }
    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition select(hdr.packet_out.inject) {
            1: parse_message;
            default: accept;
        }
    }
    state parse_message {
        packet.extract(hdr.message);
        transition accept;
    }
}

control EverythingIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t smeta) {
    counter(8, CounterType.packets_and_bytes) by_kind;
    direct_counter(CounterType.packets_and_bytes) exact_counter;
    register<bit<48>>(16) wide_register;
    register<int<8>>(4) signed_register;

    action forward(bit<9> port) { smeta.egress_spec = port; }
    action multicast(bit<16> group) { smeta.mcast_grp = group; }
    action drop() { mark_to_drop(smeta); }
    @name("remember")
    action remember(bit<4> index, bit<48> value) { wide_register.write((bit<32>)index, value); }

    table exact_table {
        key = { hdr.message.tag: exact @name("tag"); }
        actions = { forward; multicast; remember; @tableonly drop; @defaultonly NoAction; }
        default_action = NoAction();
        counters = exact_counter;
        size = 4;
    }
    table lpm_table {
        key = { hdr.message.tag: lpm @name("tag"); }
        actions = { forward; drop; NoAction; }
        const default_action = NoAction();
        size = 64;
    }
    table ternary_table {
        key = {
            hdr.message.kind: exact @name("kind");
            hdr.message.tag: ternary @name("tag");
            hdr.message.value: range @name("value");
            hdr.message.pad: optional @name("pad");
        }
        actions = { forward; drop; NoAction; }
        size = 64;
    }
    table const_table {
        key = { hdr.message.kind: exact @name("kind"); hdr.message.pad: ternary @name("pad"); }
        actions = { forward; NoAction; }
        const entries = {
            (7, 1 &&& 0xff): forward(3);
            (7, _): forward(4);
        }
    }
    table keyless_table {
        actions = { forward; NoAction; }
        default_action = forward(5);
    }

    apply {
        smeta.egress_spec = 0;
        if (hdr.packet_out.isValid()) {
            smeta.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        }
        if (hdr.message.isValid()) {
            by_kind.count((bit<32>)hdr.message.kind);
            if (hdr.message.kind == 1) {
                digest<seen_t>(1, { hdr.message.tag, hdr.message.value });
            }
            if (hdr.message.kind == 2) {
                int<8> last;
                signed_register.read(last, 0);
                signed_register.write(0, last - 1);
                hdr.packet_in.setValid();
                hdr.packet_in.ingress_port = smeta.ingress_port;
                hdr.packet_in.reason = 5;
                smeta.egress_spec = CPU_PORT;
            } else if (hdr.message.kind == 3) {
                keyless_table.apply();
            } else if (hdr.message.kind == 7) {
                const_table.apply();
            } else if (!exact_table.apply().hit) {
                if (!lpm_table.apply().hit) {
                    ternary_table.apply();
                }
            }
            if (hdr.message.pad == 0xff) {
                clone(CloneType.I2E, 9);
            }
        }
    }
}

control EverythingEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t smeta) {
    apply { }
}

control EverythingDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.message);
    }
}

control NoVerify(inout headers_t hdr, inout metadata_t meta) { apply { } }
control NoUpdate(inout headers_t hdr, inout metadata_t meta) { apply { } }

V1Switch(EverythingParser(), NoVerify(), EverythingIngress(), EverythingEgress(), NoUpdate(), EverythingDeparser()) main;
