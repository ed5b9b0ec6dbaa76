// The steering program: it reads the reports that edge nodes send about their instances, and steers every request to
// the best instance, at the next packet, with no controller in the loop.
//
//   packet-out -> PacketIo - send, probe ------------------------------------+
//                    | inject                                                |
//   frame -------> Guard -> Decapsulation -> Classify                        |
//     ^                        +- ARP ------> Arp ---------------------------+
//     |                        +- ping -----> Ping --------------------------+
//     |                        +- report ---> Binding, Authentication,       +--> Outcome --> out, copied or dropped;
//     |                        |              Intent, Reports, Tree, Host ---+       |        counted, told
//     |                        +- request --> Intent, AffinityLookup,        |       |
//     |                        |              Choose, Commit, Tree,          |       |
//     |                        |              AffinityStore, then            |       |
//     |                        |              Encapsulation, Routing, or     |       |
//     |                        |              TooBig ------------------------+       |
//     |                        +- else -----> Routing -----------------------+       |
//     |                                                                              |
//     +------- once more round: an instance was taken out, or a host must move ------+
//
// A report changes its instance's rank, one leaf of the service's tournament tree. A request takes the member that the
// service's policy chooses, if that member is alive; if not, Commit takes it out of the tree and the packet goes round
// once more. A report that makes a host move goes round in the same way: the new host is looked at as closely as by a
// request. A pass changes one leaf at most, which is what lets every control stand once. README.md tells more.

#define V1MODEL_VERSION 20200408
#include <core.p4>
#include <v1model.p4>

#include "types.p4"
#include "headers.p4"
#include "metadata.p4"
#include "registers.p4"
#include "parser.p4"
#include "checksums.p4"
#include "packet_io.p4"
#include "guard.p4"
#include "tunnel.p4"
#include "classify.p4"
#include "arp.p4"
#include "ping.p4"
#include "intent.p4"
#include "reports.p4"
#include "siphash.p4"
#include "authentication.p4"
#include "affinity.p4"
#include "host.p4"
#include "draw.p4"
#include "choose.p4"
#include "commit.p4"
#include "tree.p4"
#include "too_big.p4"
#include "routing.p4"
#include "outcome.p4"

control SteeringIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    PacketIo() packet_io;
    Guard() guard;
    Decapsulation() decapsulation;
    Classify() classify;
    Arp() arp;
    Ping() ping;
    Binding() binding;
    Authentication() authentication;
    Intent() intent;
    Reports() reports;
    AffinityLookup() affinity_lookup;
    Choose() choose;
    Commit() commit;
    Tree() tree;
    Host() host;
    AffinityStore() affinity_store;
    Encapsulation() encapsulation;
    TooBig() too_big;
    Routing() routing;
    Outcome() outcome;

    apply {
        if (std.instance_type != INSTANCE_RESUBMIT) {
            meta.now = std.ingress_global_timestamp;
            meta.port = std.ingress_port;
        }
        mark_to_drop(std);

        if (hdr.packet_out.isValid()) {
            meta.from_cpu = 1;
            packet_io.apply(hdr, meta, std);
        }
        if (meta.kind != kind_t.CONTROL && meta.drop == drop_t.NONE) {
            guard.apply(hdr, meta, std);
            if (meta.drop == drop_t.NONE) {
                if (hdr.ipv4.isValid() && hdr.ipv4.protocol == PROTOCOL_IPIP) { decapsulation.apply(hdr, meta); }
                if (meta.kind == kind_t.NONE) { classify.apply(hdr, meta); }
            }
        }

        if (meta.drop == drop_t.NONE) {
            if (meta.kind == kind_t.ARP) {
                arp.apply(hdr, meta, std);
            } else if (meta.kind == kind_t.PING) {
                ping.apply(hdr, meta, std);
            } else if (meta.kind == kind_t.REPORT) {
                binding.apply(hdr.report, hdr.ipv4.src, meta);
                if (meta.authenticate == 1) { authentication.apply(hdr.report, meta); }
            }
        }

        if (meta.drop == drop_t.NONE && (meta.kind == kind_t.REPORT || meta.kind == kind_t.REQUEST)) {
            intent.apply(meta);
            if (meta.drop == drop_t.NONE) {
                if (meta.kind == kind_t.REPORT && meta.passes == 0) {
                    reports.apply(hdr.report, meta);
                } else {
                    if (meta.kind == kind_t.REQUEST && (meta.affinity != affinity_t.NONE || hdr.tcp.isValid() || meta.quotes)) {
                        affinity_lookup.apply(hdr, meta);
                    }
                    if (meta.drop == drop_t.NONE && !meta.sticky) { choose.apply(meta); }
                    if (meta.drop == drop_t.NONE && !meta.fell_back
                        && (meta.kind == kind_t.REQUEST || meta.event != event_t.NONE || meta.host_overdue)) {
                        commit.apply(hdr.ipv4, meta);
                    }
                }
                if (meta.leaf_changed) { tree.apply(meta); }
                if (meta.accepted && meta.hosted) {
                    host.apply(true, meta);
                    meta.again = meta.event != event_t.NONE || meta.host_overdue;
                    meta.event = event_t.NONE;
                }
                if (meta.steered && meta.has_slot) { affinity_store.apply(hdr, meta); }
            }
        }

        if (meta.drop == drop_t.NONE && (meta.kind == kind_t.PLAIN || meta.kind == kind_t.REQUEST)) {
            if (meta.too_big) {
                too_big.apply(hdr, meta, std);
            } else {
                if (meta.remote) { encapsulation.apply(hdr, meta); }
                routing.apply(hdr, meta, std);
            }
        }
        outcome.apply(hdr, meta, std);
    }
}

// Nothing: all steering state is touched in ingress only.
control SteeringEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply { }
}

@pkginfo(name = "steering.p4", version = "0.2.0", organization = "hitless")
V1Switch(SteeringParser(), SteeringVerify(), SteeringIngress(), SteeringEgress(), SteeringCompute(),
         SteeringDeparser()) main;
