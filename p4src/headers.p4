// SPDX-License-Identifier: Apache-2.0

// What is on the wire, and what P4Runtime clients exchange with the switch.

header ethernet_h {
    mac_t   dst;
    mac_t   src;
    bit<16> ether_type;
}

// A tag (IEEE 802.1Q). One with VLAN 0 says only how urgent its frame is.
header vlan_h {
    bit<3>  priority;
    bit<1>  drop_eligible;
    bit<12> vlan;
    bit<16> ether_type;
}

header arp_h {
    bit<16> hardware_type;
    bit<16> protocol_type;
    bit<8>  hardware_size;
    bit<8>  protocol_size;
    bit<16> operation;
    mac_t   sender_mac;
    ipv4_t  sender;
    mac_t   target_mac;
    ipv4_t  target;
}

header ipv4_h {
    bit<4>  version;
    bit<4>  ihl;
    bit<8>  tos;
    bit<16> total_len;
    bit<16> identification;
    bit<1>  reserved;
    bit<1>  dont_fragment;
    bit<1>  more_fragments;
    bit<13> fragment_offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    ipv4_t  src;
    ipv4_t  dst;
}

header icmp_h {
    bit<8>  type;
    bit<8>  code;
    bit<16> checksum;
    bit<32> rest;
}

header tcp_h {
    bit<16> src_port;
    bit<16> dst_port;
    bit<32> sequence;
    bit<32> acknowledgement;
    bit<4>  data_offset;
    bit<4>  reserved;
    bit<1>  cwr;
    bit<1>  ece;
    bit<1>  urg;
    bit<1>  ack;
    bit<1>  psh;
    bit<1>  rst;
    bit<1>  syn;
    bit<1>  fin;
    bit<16> window;
    bit<16> checksum;
    bit<16> urgent;
}

header udp_h {
    bit<16> src_port;
    bit<16> dst_port;
    bit<16> length;
    bit<16> checksum;
}

// The report: one instance's state as its node sees it, all of a UDP payload. This is the definition of the layout;
// every other codec is tested against it.
header report_h {
    bit<16> magic;            // REPORT_MAGIC
    bit<8>  version;          // REPORT_VERSION
    bit<6>  reserved_flags;   // zero
    bit<1>  draining;
    bit<1>  ready;
    bit<16> service_id;
    bit<16> node_id;
    bit<32> epoch;            // start counter of the emitter, kept on its disk: never a clock
    bit<32> sequence;         // counts the reports of an epoch
    bit<16> cpu;              // permille of the node's budget
    bit<16> cpu_own;          // this instance's share of cpu
    bit<16> memory;           // permille of the node's budget
    bit<16> queue_depth;
    bit<16> in_flight;
    bit<16> concurrency;
    bit<32> backlog;          // µs until work that arrives now would start
    bit<32> service_interval; // µs, average service time divided by concurrency
    bit<32> received;         // new work that came since start: requests, TCP connections
    bit<8>  key_id;
    bit<16> contention;       // permille of the time it wanted to run in which others kept it from that
    bit<8>  reserved;         // zero
    bit<64> tag;              // SipHash-2-4 of all before it (siphash.p4); its binding says whether that is demanded
}

// The invocation protocol's header, at the same offset in every fragment of a request.
header invocation_h {
    bit<16> magic;            // INVOCATION_MAGIC
    bit<8>  version;          // INVOCATION_VERSION
    bit<8>  type;             // invocation_t
    bit<8>  flags;            // INVOCATION_ONCE; the others are zero
    bit<8>  attempt;          // counts the sendings of one request, from 0
    bit<16> service_id;
    bit<32> client_id;
    bit<64> request_id;
    bit<64> parent_id;        // the request that caused this one, 0 for none
    bit<32> deadline;         // ms that the client will still wait
    bit<16> status;           // of an answer: an HTTP status; of a request: 0
    bit<16> fragment_index;
    bit<16> fragment_count;
    bit<32> total_length;     // bytes of the whole message's payload
}

// What comes after the IPv4 header, where nothing that is known here does: an ICMP error quotes so much.
header beginning_h {
    bit<64> bytes;
}

// What an ICMP error quotes after the IPv4 header: of TCP and UDP, the ports come first.
header quoted_h {
    bit<16> src_port;
    bit<16> dst_port;
    bit<32> rest;
}

// From a P4Runtime client. SEND: out of `port` as it is. PROBE: tell what is believed of `service` and `member`.
// INJECT: into the pipeline as if it had come from `port`.
@controller_header("packet_out")
header packet_out_h {
    bit<8>  op;               // packet_out_t
    bit<16> port;
    bit<16> service;
    bit<16> member;
}
const bit<32> PACKET_OUT_BYTES = 7;

// To the P4Runtime clients. PACKET: a packet routed to the CPU port, with the port it came from; the rest is zero.
// PROBE: the answer to a probe; the payload is the probe's own.
@controller_header("packet_in")
header packet_in_h {
    bit<8>  op;               // packet_in_t
    bit<16> port;
    bit<16> service;
    bit<16> member;
    bit<8>  status;           // status_t
    bit<8>  eligible;         // 1: new work may go there
    bit<48> rank;
    bit<48> age;              // µs since the last accepted report; NEVER if there is none
    bit<32> epoch;            // of the last accepted report
    bit<32> sequence;
    bit<32> sent;             // pieces of new work steered there
    bit<32> own;              // packets steered there that its own node had sent: it answers those within itself
    bit<32> received;         // by its last accepted report: pieces of new work that came,
    bit<32> held;             // ... and how many requests it still has
    bit<16> host;             // of the service under `single` or `pinned`; NO_MEMBER_16 if there is none
    bit<16> best;             // the tree's root; NO_MEMBER_16 if nobody is eligible
    bit<48> best_rank;
    bit<48> now;              // the switch's clock
    bit<64> evidence;         // for another host of the service under `single` (host.p4),
    bit<48> since;            // ... and when there was none, the last time
    bit<16> cpu;              // by its last accepted report, as there:
    bit<16> cpu_own;
    bit<16> memory;
    bit<16> queue_depth;
    bit<32> backlog;
    bit<32> service_interval;
}
const bit<32> PACKET_IN_BYTES = 91;

struct headers_t {
    packet_out_h packet_out;
    packet_in_h  packet_in;
    ethernet_h   ethernet;
    vlan_h       vlan;
    arp_h        arp;
    ipv4_h       outer;       // put on here: of the tunnel to a remote node, or of an ICMP error
    icmp_h       notice;      // put on here: it quotes what follows
    ipv4_h       ipv4;        // the packet's own
    ipv4_h       inner;       // of IPv4 in IPv4
    beginning_h  beginning;   // of what is in the innermost of them
    icmp_h       icmp;
    ipv4_h       quoted_ipv4; // what an ICMP error quotes
    quoted_h     quoted;
    tcp_h        tcp;
    udp_h        udp;
    report_h     report;
    invocation_h invocation;
}

// Sent on every change of a host and on every eviction. Plain bit fields: BMv2 refuses a digest with an enum in it.
struct steering_event_t {
    bit<8>  service;
    bit<8>  reason;           // event_t: a move of the host or an eviction
    bit<8>  from_member;      // NO_MEMBER if there was none
    bit<8>  to_member;        // NO_MEMBER if there is none
    bit<48> from_rank;
    bit<48> to_rank;
    bit<48> switch_time;      // µs, when the packet arrived that caused it
    bit<16> node_id;          // of the report that decided, the first after which the condition held; 0: a packet did
    bit<32> epoch;            // of that report
    bit<32> sequence;         // of that report
}
