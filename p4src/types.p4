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
typedef bit<54> entrant_t;      // rank ++ member: what plays in the tournament
typedef bit<7>  maybe_member_t; // valid ++ member
typedef bit<64> members_t;      // a set: bit m stands for member m
typedef bit<112> flow_key_t;    // service ++ protocol ++ (addresses and ports | client and request id)

const bit<32> SERVICES      = 256;
const bit<32> MEMBERS       = 64;    // of a service
const bit<32> INSTANCES     = SERVICES * MEMBERS;
const bit<32> FLOWS_PER_WAY = 65536;
const bit<32> REASONS       = 32;    // room in the counters that are indexed by a reason

const port_t CPU_PORT = 510;

const bit<8>  RESUBMIT_FIELDS    = 1;
const bit<32> INSTANCE_RESUBMIT  = 6;   // standard_metadata.instance_type of a packet that went round
const bit<7>  MAX_RESUBMITS      = 64;  // all members of a service can be found stale by one packet

const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_ARP  = 0x0806;
const bit<8>  PROTOCOL_ICMP  = 1;
const bit<8>  PROTOCOL_IPIP  = 4;   // IPv4 in IPv4 (RFC 2003)
const bit<8>  PROTOCOL_TCP   = 6;
const bit<8>  PROTOCOL_UDP   = 17;
const bit<8>  OWN_TTL        = 64;  // of what this switch sends itself
const bit<32> ETHERNET_BYTES = 14;
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
const bit<8>  FRAGMENTATION_NEEDED = 4; // code of ICMP_UNREACHABLE
const bit<16> ICMP_ERROR_BYTES   = 56;  // IPv4, ICMP, and what it quotes: IPv4 and 8 bytes more

const bit<16> REPORT_MAGIC       = 0x4854;
const bit<8>  REPORT_VERSION     = 1;
const bit<16> REPORT_BYTES       = 52;
const bit<16> INVOCATION_MAGIC   = 0x4849;
const bit<16> INVOCATION_BYTES   = 42;
const bit<8>  INVOCATION_VERSION = 1;
const bit<8>  INVOCATION_REQUEST = 1;   // the type that starts one; the client's acks follow it

// Ranks. What lies between is the policy's: `single` counts load down from 65535, `spread` time down from 2^48 - 1.
const rank_t NOT_ELIGIBLE = 0;
const rank_t LAST_RESORT  = 1;               // draining: only when nothing else is left
const rank_t SINGLE_BEST  = 65535;
const bit<32> SINGLE_MAX_LOAD = 65533;       // so that the busiest eligible instance still beats a draining one
const rank_t SPREAD_BEST  = 0xffffffffffff;
const bit<64> SPREAD_MAX_DELAY = 1 << 46;    // two years ahead: keeps any start time above LAST_RESORT

// Shifts of the score. A weight is a left shift up to WEIGHT_MAX; anything above is off, OFF is how to write it.
const bit<8> WEIGHT_MAX = 16;
const bit<8> OFF        = 31;

const usec_t HANDSHAKE_AFTER = 3_000_000;    // a SYN that nobody followed up
const usec_t CLOSING_AFTER   = 10_000_000;   // after FIN or RST: half-closed downloads go on
const bit<3> MAX_DAMPING     = 6;            // a dwell doubles up to 64 times

const bit<8>  NO_MEMBER     = 0xff;           // in digests
const bit<16> NO_MEMBER_16  = 0xffff;         // in packet-in
const usec_t  NEVER         = 0xffffffffffff; // age of an instance that never reported

// Why a packet was dropped: index of the counter `drops`, whose annotation repeats the names for P4Runtime clients.
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
    CONGESTION       = 22   // a router in its tunnel met congestion, and its sender does not ask to be told of that
}

enum bit<2> affinity_t   { NONE = 0, FLOW = 1, REQUEST = 2 }
enum bit<2> no_live_t    { LAST = 0, FALLBACK = 1, DROP = 2 }
enum bit<2> status_t     { ABSENT = 0, READY = 1, DRAINING = 2, NOT_READY = 3 }
enum bit<2> flow_state_t { FREE = 0, OPENING = 1, OPEN = 2, CLOSING = 3 }
enum bit<8> packet_out_t { SEND = 0, PROBE = 1, INJECT = 2 }
enum bit<8> packet_in_t  { PACKET = 0, PROBE = 1 }

// What a packet is to this switch.
enum bit<3> kind_t { NONE = 0, CONTROL = 1, ARP = 2, PING = 3, REPORT = 4, REQUEST = 5, PLAIN = 6 }

enum bit<3> policy_t {
    NONE = 0, SINGLE = 1, SPREAD = 2, PINNED = 3, TWO_CHOICES = 4, ROUND_ROBIN = 5, RANDOM = 6
}

// What happened to a service: reasons of the digest and index of the counter `events`.
enum bit<8> event_t {
    NONE        = 0,
    FIRST       = 1,   // the host moved (1 to 7): there was none
    BETTER      = 2,   // another was better by the margin, and the dwell was over
    DRAINING    = 3,
    NOT_READY   = 4,
    STALE       = 5,
    GONE        = 6,
    PINNED      = 7,
    EVICT_STALE = 8,   // an instance was taken out
    EVICT_GONE  = 9,
    NO_LIVE     = 10,  // only counted, from here on: a packet met no live instance
    FALLBACK    = 11,  // ... and went to the service's fallback address
    NO_ENTRY    = 12,  // mid-flow without an entry in the flow store
    NO_SLOT     = 13,  // a new flow, and the flow store was full where it hashes
    REPORT      = 14,  // a report was accepted
    TOO_BIG     = 15   // a packet was too big for the tunnel to its instance, and its sender was told
}
