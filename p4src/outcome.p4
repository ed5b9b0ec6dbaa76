// SPDX-License-Identifier: Apache-2.0

// How a pass ends: told, counted, and then once more round, dropped, copied or sent. The one place that decides a drop.

control Outcome(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    // Packets steered to an instance; index: service ++ member.
    @id(0x12000001) @name(".steered")
    counter<instance_t>(INSTANCES, CounterType.packets_and_bytes) steered;

    // Packets dropped, by drop_t.
    @id(0x12000002) @name(".drops")
    @names[PARSER=1, CHECKSUM=2, ETHERTYPE=3, OPTIONS=4, LENGTH=5, MULTICAST=6, TTL=7, NO_ROUTE=8, ARP=9, ICMP=10,
           REPORT_MALFORMED=11, REPORT_UNBOUND=12, REPORT_OLD=13, UNCONFIGURED=14, INVOCATION=15, NO_LIVE=16,
           RESUBMITS=17, PACKET_OUT=18, REPORT_FORGED=19, MTU=20, FRAGMENT=21,
           CONGESTION=22, SOURCE=23, FOREIGN=24, TUNNEL=25, NO_PORT=26]
    counter<bit<8>>(REASONS, CounterType.packets_and_bytes) drops;

    // Reports accepted from an instance; index: service ++ member.
    @id(0x12000008) @name(".reported")
    counter<instance_t>(INSTANCES, CounterType.packets) reported;

    // What happened, by event_t.
    @id(0x12000003) @name(".events")
    @names[FIRST=1, BETTER=2, DRAINING=3, NOT_READY=4, STALE=5, GONE=6, PINNED=7, EVICT_STALE=8, EVICT_GONE=9,
           NO_LIVE=10, FALLBACK=11, NO_ENTRY=12, NO_SLOT=13, REPORT=14, TOO_BIG=15,
           TIME_EXCEEDED=18, UNREACHABLE=19, LIMITED=20, LATE_START=25]
    counter<bit<8>>(REASONS, CounterType.packets) events;

    // Flows that began, by the place that their service's share of the flow store had for them; index: service ++ place_t.
    @id(0x12000005) @name(".newcomers")
    @names[FIRST=1, SECOND=2, BUCKET=3]
    counter<newcomer_t>(SERVICES << 2, CounterType.packets) newcomers;

    bit<8>  from_member;
    bit<8>  to_member;
    bit<16> node_id;
    bit<32> epoch;
    bit<32> sequence;

    // The only digest call: each would get a list of its own in BMv2, and P4Runtime configures the first.
    @hidden action tell() {
        events.count((bit<8>)meta.event);
        digest<steering_event_t>(1, { meta.service, (bit<8>)meta.event, from_member, to_member, meta.event_from_rank,
            meta.event_to_rank, meta.now, node_id, epoch, sequence });
    }

    @hidden action decided_by_report() {
        node_id = hdr.report.node_id;
        epoch = hdr.report.epoch;
        sequence = hdr.report.sequence;
    }

    @hidden action to_cpu() {
        hdr.packet_in.setValid();
        hdr.packet_in.op = packet_in_t.PACKET;
        hdr.packet_in.port = (bit<16>)meta.port;
    }

    apply {
        if (meta.event != event_t.NONE) {
            from_member = meta.event_from[6:6] == 1 ? (bit<8>)meta.event_from[5:0] : NO_MEMBER;
            to_member = (bit<8>)meta.member;
            if (meta.event == event_t.EVICT_STALE || meta.event == event_t.EVICT_GONE) {
                to_member = meta.best_rank == NOT_ELIGIBLE ? NO_MEMBER : (bit<8>)meta.best;
                meta.event_to_rank = meta.best_rank;
            }
            node_id = 0;
            epoch = 0;
            sequence = 0;
            if (meta.kind == kind_t.REPORT) { decided_by_report(); }
            tell();
        }
        if (meta.accepted) {
            events.count(event_t.REPORT);
            reported.count(meta.instance);
        }

        if (meta.again && meta.passes < MAX_RESUBMITS) {
            meta.passes = meta.passes + 1;
            resubmit_preserving_field_list(RESUBMIT_FIELDS);
        } else {
            if (meta.met_no_live) { events.count(event_t.NO_LIVE); }
            if (meta.fell_back) { events.count(event_t.FALLBACK); }
            if (meta.no_entry) { events.count(event_t.NO_ENTRY); }
            if (meta.no_slot) { events.count(event_t.NO_SLOT); }
            if (meta.place != place_t.NONE) { newcomers.count(meta.service ++ (bit<2>)meta.place); }
            if (meta.told != event_t.NONE) { events.count(meta.told); }
            if (meta.again && meta.kind == kind_t.REQUEST) { meta.drop = drop_t.RESUBMITS; }
            if (meta.drop != drop_t.NONE) {
                drops.count(meta.drop);
                if (!hdr.notice.isValid()) { mark_to_drop(std); }
            } else if (meta.kind == kind_t.REPORT) {
                // Every switch that steers the service hears it, unchanged. None accepts it twice, so copies cannot loop.
                std.mcast_grp = meta.copy_group;
            } else if (meta.steered) {
                steered.count(meta.instance);
            }
            if (std.egress_spec == CPU_PORT && !hdr.packet_in.isValid()) { to_cpu(); }
        }
    }
}
