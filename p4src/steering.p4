// SPDX-License-Identifier: Apache-2.0

// The steering program: it reads the reports that edge nodes send about their instances, and steers every request to
// the best instance, at the next packet, with no controller in the loop.
//
//   packet-out -> PacketIo - send, probe ------------------------------------+
//                    | inject                                                |
//   frame -------> Guard -> Classify -> Ports -> Decapsulation               |
//     ^                        +- ARP ------> Arp ---------------------------+
//     |                        +- ping -----> Ping --------------------------+
//     |                        +- report ---> Binding, Authentication,       +--> Outcome --> out, copied or dropped;
//     |                        |              Intent, Reports, Settle -------+       |        counted, told
//     |                        +- request --> Intent, Steer, Settle, then    |       |
//     |                        |              Encapsulation, Routing, or     |       |
//     |                        |              IcmpError ---------------------+       |
//     |                        +- else -----> Answers, Routing or IcmpError -+       |
//     |                                                                              |
//     +-- once more round: an instance was taken out or put off, or a host must move -+
//
// A report changes its instance's rank, one leaf of the service's tournament tree. A request takes the member that the
// service's policy chooses, if that member is alive; if not, that one is taken out of the tree and the packet goes
// round once more. A report that makes a host move goes round in the same way: the new host is looked at as closely as
// by a request. A pass changes one leaf at most, which is what lets every stage stand once; only Host stands twice,
// since a report asks it after the tree has changed, and a choice before. README.md tells more.

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
#include "classify.p4"
#include "ports.p4"
#include "tunnel.p4"
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
#include "steer.p4"
#include "tree.p4"
#include "settle.p4"
#include "answers.p4"
#include "routing.p4"
#include "icmp_error.p4"
#include "outcome.p4"

control SteeringIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    PacketIo() packet_io;
    Guard() guard;
    Classify() classify;
    Ports() ports;
    Decapsulation() decapsulation;
    Arp() arp;
    Ping() ping;
    Binding() binding;
    Authentication() authentication;
    Intent() intent;
    Reports() reports;
    Steer() steer;
    Settle() settle;
    Encapsulation() encapsulation;
    Answers() answers;
    Routing() routing;
    IcmpError() icmp_error;
    Outcome() outcome;

    apply {
        if (std.instance_type != INSTANCE_RESUBMIT) {
            meta.now = std.ingress_global_timestamp;
            meta.port = std.ingress_port;
        }
        mark_to_drop(std);

        if (hdr.packet_out.isValid()) { packet_io.apply(hdr, meta, std); }
        if (meta.kind != kind_t.CONTROL && meta.drop == drop_t.NONE) {
            guard.apply(hdr, meta, std);
            if (meta.drop == drop_t.NONE) {
                classify.apply(hdr, meta);
                ports.apply(hdr, meta);
                if (meta.drop == drop_t.NONE && meta.kind == kind_t.PLAIN && hdr.ipv4.protocol == PROTOCOL_IPIP) {
                    decapsulation.apply(hdr, meta);
                }
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
                    steer.apply(hdr, meta);
                }
                settle.apply(hdr, meta);
            }
        }

        if (meta.drop == drop_t.NONE && !meta.again && !meta.too_big
            && (meta.kind == kind_t.PLAIN || meta.kind == kind_t.REQUEST)) {
            if (meta.kind == kind_t.PLAIN) { answers.apply(hdr.ipv4, meta); }
            if (meta.remote) { encapsulation.apply(hdr, meta); }
            routing.apply(hdr, meta, std);
        }
        if (meta.tell || meta.too_big) { icmp_error.apply(hdr, meta, std); }
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
