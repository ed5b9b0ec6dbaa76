// SPDX-License-Identifier: Apache-2.0

// Widths, sizes and well-known values: the one place that knows them.

typedef bit<48> mac_t;
typedef bit<32> ipv4_t;
typedef bit<9>  port_t;
typedef bit<48> usec_t;         // microseconds on the switch's clock, or a span of them
typedef bit<8>  service_t;      // a service's index on this switch
typedef bit<6>  member_t;       // an instance's slot within its service
typedef bit<14> instance_t;     // service ++ member: index of every per-instance register
typedef bit<8>  generation_t;   // of a binding and its instance; never zero, so zero means "no such instance"
typedef bit<48> rank_t;         // how good an instance is for the next piece of work
typedef bit<54> entrant_t;      // rank ++ member: a contender in the tournament
typedef bit<7>  maybe_member_t; // valid ++ member
typedef bit<96> measured_t;     // of a report: cpu ++ cpu_own ++ memory ++ queue_depth ++ backlog
typedef bit<64> evidence_t;     // what speaks for another host, in rank (host.p4)
typedef bit<64> members_t;      // a set: bit m stands for member m
typedef bit<112> flow_key_t;    // service ++ protocol ++ (addresses and ports | client and request id)
typedef bit<18> bucket_t;       // service ++ a hash of the flow's key: index of the register of buckets
typedef bit<10> newcomer_t;     // service ++ place_t: index of the counter of flows that begin
typedef bit<128> key_t;         // of SipHash: an instance and the switches that hear it share it

const bit<32> SERVICES      = 256;
const bit<32> MEMBERS       = 64;    // of a service
const bit<32> INSTANCES     = SERVICES * MEMBERS;
const bit<32> FLOWS_PER_WAY = 65536; // slots in each of the two ways of the flow store
const bit<32> BUCKETS       = 1024;  // of a service: they keep together what its share of the store has no slot for
const bit<32> REASONS       = 32;    // room in the counters that are indexed by a reason
const bit<32> PORTS         = 512;   // every number that a port can have

const port_t CPU_PORT = 510;

// What the program does not read, but those who write entries and packets do.
@noWarn("unused") const port_t  DROP_PORT             = 511;        // what is sent there is dropped: nobody's port
@noWarn("unused") const ipv4_t  SERVICE_PREFIX        = 0x0a600000; // 10.96.0.0: of services and of REPORT_ADDRESS
@noWarn("unused") const bit<32> SERVICE_PREFIX_LENGTH = 16;
@noWarn("unused") const ipv4_t  REPORT_ADDRESS        = 0x0a60fffe; // 10.96.255.254, unless the fabric file differs
@noWarn("unused") const bit<16> REPORT_PORT           = 9600;       // of UDP, unless the fabric file differs

const bit<8>  RESUBMIT_FIELDS    = 1;
const bit<32> INSTANCE_RESUBMIT  = 6;   // standard_metadata.instance_type of a packet that went round
const bit<7>  MAX_RESUBMITS      = 64;  // all members of a service can be found stale by one packet

const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_ARP  = 0x0806;
const bit<16> ETHERTYPE_VLAN = 0x8100; // a tag, and another type behind it (IEEE 802.1Q)
const mac_t   BROADCAST      = 0xffffffffffff;
const bit<8>  PROTOCOL_ICMP  = 1;
const bit<8>  PROTOCOL_IPIP  = 4;   // IPv4 in IPv4 (RFC 2003)
const bit<8>  PROTOCOL_TCP   = 6;
const bit<8>  PROTOCOL_UDP   = 17;
const bit<8>  OWN_TTL        = 64;  // of what this switch sends itself
const bit<32> ETHERNET_BYTES = 14;
const bit<32> VLAN_BYTES     = 4;
const bit<16> IPV4_BYTES     = 20;
const bit<16> ICMP_BYTES     = 8;
const bit<16> UDP_BYTES      = 8;

// Explicit congestion notification (RFC 3168): the last two bits of `tos`.
const bit<2>  NOT_CAPABLE            = 0;
const bit<2>  CAPABLE_1              = 1;
const bit<2>  CAPABLE_0              = 2;
const bit<2>  CONGESTION_EXPERIENCED = 3;

const bit<8>  ICMP_ECHO_REPLY    = 0;
const bit<8>  ICMP_UNREACHABLE   = 3;
const bit<8>  ICMP_ECHO          = 8;
const bit<8>  ICMP_TIME_EXCEEDED = 11;
const bit<8>  ICMP_PARAMETER     = 12;
const bit<16> QUOTED_BYTES       = 8;   // that an ICMP error quotes after the IPv4 header
const bit<16> ICMP_ERROR_BYTES   = 56;  // IPv4, ICMP, and what it quotes: IPv4 and QUOTED_BYTES

const bit<16> REPORT_MAGIC       = 0x4854;
const bit<8>  REPORT_VERSION     = 1;
const bit<16> REPORT_BYTES       = 52;
const bit<16> INVOCATION_MAGIC   = 0x4849;
const bit<16> INVOCATION_BYTES   = 42;
const bit<8>  INVOCATION_VERSION = 1;
const bit<8>  INVOCATION_ONCE    = 1; // flag of a request: whatever becomes of it, it is not sent again

// Ranks. What lies between is the policy's: `single` counts load down from 65535, `spread` time down from 2^48 - 1.
const rank_t NOT_ELIGIBLE = 0;
const rank_t LAST_RESORT  = 1;               // draining: only when nothing else is left
const rank_t LATE_START   = 2;               // `single`: new work would start too late there
const rank_t SINGLE_BEST  = 65535;
const bit<32> SINGLE_MAX_LOAD = 65532;       // so that the busiest instance still beats one that would start too late
const rank_t SPREAD_BEST  = 0xffffffffffff;
const bit<64> SPREAD_MAX_DELAY = 1 << 46;    // two years ahead: keeps any start time above LAST_RESORT

// Shifts of the score. A weight is a left shift up to WEIGHT_MAX; anything above is off, OFF is how to write it.
const bit<8> WEIGHT_MAX = 16;
const bit<8> OFF        = 31;

const bit<8> LATE_SHIFT      = 4;            // a backlog of 16 service times is too long, where nothing else is said

const usec_t HANDSHAKE_AFTER = 3_000_000;    // µs until an entry whose SYN nobody followed up expires
const usec_t CLOSING_AFTER   = 10_000_000;   // µs from FIN or RST to the entry's end: half-closed downloads go on
const bit<3> MAX_DAMPING     = 6;            // a dwell doubles up to 64 times
const usec_t ERROR_INTERVAL  = 10_000;       // µs that one ICMP error takes of its port's share,
const usec_t ERROR_SPAN      = 200_000;      // ... and by how many it may be overdrawn: 20 at once

const bit<8>  NO_MEMBER     = 0xff;           // in digests
const bit<16> NO_MEMBER_16  = 0xffff;         // in packet-in
const usec_t  NEVER         = 0xffffffffffff; // age of an instance that never reported

// Why a packet was dropped: index of the counter `drops`, whose annotation repeats the names for clients.
enum bit<8> drop_t {
    NONE             = 0,
    PARSER           = 1,   // shorter than its headers say
    CHECKSUM         = 2,   // IPv4 header checksum
    ETHERTYPE        = 3,   // neither IPv4 nor ARP
    OPTIONS          = 4,   // not IPv4 with a header of 20 bytes
    LENGTH           = 5,   // lengths that contradict one another
    MULTICAST        = 6,   // IPv4 in a broadcast or multicast frame: not for a router
    TTL              = 7,
    NO_ROUTE         = 8,
    ARP              = 9,   // no request for IPv4 over Ethernet, or for an address nobody answers for here
    ICMP             = 10,  // to one of the switch's own addresses and no echo request
    REPORT_MALFORMED = 11,
    REPORT_UNBOUND   = 12,  // not from the port and source bound to the node
    REPORT_OLD       = 13,  // not newer than the last accepted
    UNCONFIGURED     = 14,  // the service has no configuration or no policy
    INVOCATION       = 15,  // request affinity without an invocation header
    NO_LIVE          = 16,  // no live instance, and the service says drop (or never had one)
    RESUBMITS        = 17,  // went round too often
    PACKET_OUT       = 18,  // a packet-out that asks for nothing known, or names a port that cannot be
    REPORT_FORGED    = 19,  // its tag does not verify under a key of its binding
    MTU              = 20,  // too big for the tunnel to its instance, and nobody to tell
    FRAGMENT         = 21,  // a fragment, where only a whole packet can be handled
    CONGESTION       = 22,  // a router in its tunnel met congestion, and its sender does not ask to be told of that
    SOURCE           = 23,  // its source, of ARP its sender, is not one that its port may send from
    FOREIGN          = 24,  // in a frame for another machine's MAC address
    TUNNEL           = 25,  // to a tunnel's end here, and not from its other end
    NO_PORT          = 26   // to one of the switch's own addresses, at a port or of a protocol that nothing there takes
}

// Which packets of a service go to one instance together. TCP goes by flow whatever this says.
enum bit<2> affinity_t {
    NONE    = 0,   // each datagram is a piece of work
    FLOW    = 1,   // by addresses, protocol and ports
    REQUEST = 2    // by client and request id of the invocation header
}

// What becomes of new work when no live instance is left.
enum bit<2> no_live_t {
    LAST     = 0,  // it goes where new work went last: reports may be all that is lost
    FALLBACK = 1,  // it is routed to the service's fallback address
    DROP     = 2
}

// What an instance last said of itself.
enum bit<2> status_t {
    ABSENT    = 0, // nothing yet, or it was taken out since
    READY     = 1,
    DRAINING  = 2, // it takes new work only when nobody else does
    NOT_READY = 3  // it takes no new work; its flows stay
}

// How far an entry's flow is.
enum bit<2> flow_state_t {
    FREE    = 0,
    OPENING = 1,   // a SYN came, nothing more
    OPEN    = 2,
    CLOSING = 3    // a FIN or RST came
}

// What place a flow that begins finds in its service's share of the store.
enum bit<2> place_t {
    NONE   = 0,    // it asks for none
    FIRST  = 1,    // the first of its two slots
    SECOND = 2,    // the second, since a live flow has the first
    BUCKET = 3     // live flows have both: a bucket that it shares with others
}

// What a P4Runtime client asks for.
enum bit<8> packet_out_t {
    SEND   = 0,    // the packet goes out as it is
    PROBE  = 1,    // an instance's state comes back
    INJECT = 2     // the packet goes through the pipeline as if it had come in by a port
}

// What a P4Runtime client is told.
enum bit<8> packet_in_t {
    PACKET = 0,    // a packet was routed to the CPU port
    PROBE  = 1     // the answer to a probe
}

// What a message of the invocation protocol is. Only a request starts one: the client's acks follow it.
enum bit<8> invocation_t {
    REQUEST  = 1,
    RESPONSE = 2,
    ERROR    = 3,  // an answer whose payload is the reason, as text
    ACK      = 4   // the message is here and need not be sent again
}

// Why a destination cannot be reached: codes of ICMP_UNREACHABLE (RFC 792, RFC 1122, RFC 1812).
enum bit<8> unreachable_t {
    NET        = 0,
    HOST       = 1,
    PROTOCOL   = 2,
    PORT       = 3,
    TOO_BIG    = 4,    // fragmentation needed
    PROHIBITED = 13    // not taken: fragments to a service
}

// What a packet is to this switch.
enum bit<3> kind_t { NONE = 0, CONTROL = 1, ARP = 2, PING = 3, REPORT = 4, REQUEST = 5, PLAIN = 6 }

// By what a service's instances are chosen: the action of `policies` that set it.
enum bit<3> policy_t {
    NONE = 0, SINGLE = 1, SPREAD = 2, PINNED = 3, TWO_CHOICES = 4, ROUND_ROBIN = 5, RANDOM = 6
}

// What happened to a service: reasons of the digest and index of the counter `events`.
enum bit<8> event_t {
    NONE        = 0,
    // The host moved:
    FIRST       = 1,   // there was none before
    BETTER      = 2,   // another was better by the margin for long enough, and the dwell was over
    DRAINING    = 3,
    NOT_READY   = 4,
    STALE       = 5,
    GONE        = 6,
    PINNED      = 7,
    // An instance was taken out:
    EVICT_STALE = 8,   // it had been silent for longer than `stale_after`
    EVICT_GONE  = 9,   // it had no entry, or one of another generation
    // Counted and not told:
    NO_LIVE     = 10,  // a packet met no live instance
    FALLBACK    = 11,  // a packet that met no live instance went to the service's fallback address
    NO_ENTRY    = 12,  // a packet in mid-flow had no entry in the flow store
    NO_SLOT     = 13,  // a new flow, and its service's share of the flow store was full where it hashes
    REPORT      = 14,  // a report was accepted
    TOO_BIG     = 15,  // a packet was too big for the tunnel to its instance, and its sender was told
    TIME_EXCEEDED = 18, // the sender of a packet at the end of its life was told
    UNREACHABLE = 19,  // the sender of a packet to where nothing is was told
    LIMITED     = 20,  // a sender was not told, since too many were at its port
    // The host moved, too:
    LATE_START  = 25   // new work would have started too late there, and does not elsewhere
}
