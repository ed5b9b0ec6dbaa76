// SPDX-License-Identifier: Apache-2.0

// What one pass of a packet knows. The stages of the pipeline speak to one another through it and through nothing else.

struct metadata_t {
    // These survive a resubmit. BMv2 zeroes all else there, the arrival time and port included.
    @field_list(RESUBMIT_FIELDS) usec_t now;       // when the packet arrived
    @field_list(RESUBMIT_FIELDS) port_t port;      // where it came from, or is said to have come from
    @field_list(RESUBMIT_FIELDS) bit<1> from_cpu;  // it starts with a packet_out header
    @field_list(RESUBMIT_FIELDS) bit<7> passes;    // how often it went round

    kind_t  kind;
    drop_t  drop;      // NONE, or the reason: Outcome drops, nobody else
    bool    again;     // this pass took an instance out or put it off, or found that a host must move: one more pass decides
    mac_t   own_mac;     // the switch's own at the port (ports.p4),
    ipv4_t  own_address; // ... in whose name it speaks there
    bit<16> src_port;  // of TCP or UDP, else zero
    bit<16> dst_port;
    bool    quotes;    // an ICMP error about a packet that a service sent

    // What the control plane says about the service (intent.p4) and about the report's instance (reports.p4).
    service_t    service;
    affinity_t   affinity;
    bit<7>       members;
    usec_t       idle_after;
    bit<32>      first_slot;  // of the service's share in each way of the flow store,
    bit<32>      slots;       // ... and how many follow it
    bit<32>      old_first_slot; // the share that it had before, whose flows go on; no slots: none
    bit<32>      old_slots;
    usec_t       stale_after;
    usec_t       dead_after;
    no_live_t    on_no_live;
    ipv4_t       fallback;
    policy_t     policy;
    bool         hosted;      // one host at a time: `single` and `pinned`
    rank_t       margin;
    usec_t       dwell;
    bit<8>       evidence;    // how many reports it takes (host.p4)
    usec_t       start_within;
    bit<8>       load_penalty;
    member_t     pinned;
    bit<8>       w_cpu;
    bit<8>       w_memory;
    bit<8>       w_queue;
    bit<16>      busy_after;
    bit<8>       w_interval;
    bit<8>       w_contention;
    bit<16>      path_cost;
    generation_t generation;
    bit<16>      copy_group;
    bit<1>       authenticate;
    bit<1>       doubted;     // its word is not to be relied on
    bit<8>       key_id;
    key_t        key;
    bit<8>       next_key_id;
    key_t        next_key;

    // What the flow store says of the packet (affinity.p4).
    flow_key_t     flow_key;
    bit<32>        slot;
    bool           has_slot;
    bool           sticky;      // it belongs to a flow that stays where it is
    bool           drawn;       // it has no entry and gets none: steered by its hash, and no new work
    bool           pooled;      // ... and it is kept together by its bucket
    bucket_t       bucket;
    usec_t         bucket_left; // µs for which the bucket would keep its member without this packet
    place_t        place;       // what a flow that begins has found
    maybe_member_t flow_member; // of the entry it found: where the flow was, alive or dead, unless that one has gone
    flow_state_t   flow_state;  // ... and how far the flow was

    // The decision (choose.p4, commit.p4).
    member_t   member;
    instance_t instance;
    bool       no_live;       // nobody is eligible
    bool       host_overdue;  // the host's last report is too old, and somebody can take over
    bool       steered;
    ipv4_t     next;          // the address to route by
    bool       remote;        // the instance's node is behind another switch: through a tunnel,
    ipv4_t     tunnel_source; // ... from this address,
    bit<16>    path_mtu;      // ... which carries IPv4 packets of this length
    bool       too_big;       // ... and not this one

    // What its sender is told, if it may be (icmp_error.p4).
    bool          tell;       // that it was dropped, and why
    unreachable_t code;       // ... unless its time was over
    bit<64>       quoted;     // the first 8 bytes after its IPv4 header
    event_t       told;       // what came of that

    // The one leaf of the tree that this pass changes (tree.p4), and the root after it.
    bool     leaf_changed;
    rank_t   rank;
    member_t best;
    rank_t   best_rank;

    // What to tell the control plane (outcome.p4).
    event_t        event;
    maybe_member_t event_from;
    rank_t         event_from_rank;
    rank_t         event_to_rank;
    bool           met_no_live;
    bool           fell_back;
    bool           no_entry;
    bool           no_slot;
    bool           accepted;
}
