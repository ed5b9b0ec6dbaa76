// SPDX-License-Identifier: Apache-2.0

// Packet-out: what a P4Runtime client asks of the switch. It comes before validation, since a probe need not carry a
// packet. BMv2 lets no one read registers: the probe is how `hitless status` learns what the switch believes.

control PacketIo(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    instance_t     instance;
    generation_t   generation;
    usec_t         arrival;
    bit<2>         status;
    entrant_t      best;
    maybe_member_t host;
    measured_t     measured;

    @hidden action send() {
        meta.kind = kind_t.CONTROL;
        std.egress_spec = (port_t)hdr.packet_out.port;
    }

    @hidden action inject() {
        meta.port = (port_t)hdr.packet_out.port;
    }

    @hidden action read_state() {
        instance = (service_t)hdr.packet_out.service ++ (member_t)hdr.packet_out.member;
        reg_generation.read(generation, instance);
        reg_arrival.read(arrival, instance);
        reg_status.read(status, instance);
        reg_best.read(best, instance[13:6]);
        reg_host.read(host, instance[13:6]);
        reg_evidence.read(hdr.packet_in.evidence, instance[13:6]);
        reg_since.read(hdr.packet_in.since, instance[13:6]);
        reg_rank.read(hdr.packet_in.rank, instance);
        reg_epoch.read(hdr.packet_in.epoch, instance);
        reg_sequence.read(hdr.packet_in.sequence, instance);
        reg_sent.read(hdr.packet_in.sent, instance);
        reg_own.read(hdr.packet_in.own, instance);
        reg_received.read(hdr.packet_in.received, instance);
        reg_held.read(hdr.packet_in.held, instance);
        reg_interval.read(hdr.packet_in.service_interval, instance);
        reg_measured.read(measured, instance);
    }

    @hidden action answer() {
        hdr.packet_in.op = packet_in_t.PROBE;
        hdr.packet_in.port = hdr.packet_out.port;
        hdr.packet_in.service = hdr.packet_out.service;
        hdr.packet_in.member = hdr.packet_out.member;
        hdr.packet_in.status = (bit<8>)status;
        hdr.packet_in.best_rank = best[53:6];
        hdr.packet_in.now = meta.now;
        hdr.packet_in.cpu = measured[95:80];
        hdr.packet_in.cpu_own = measured[79:64];
        hdr.packet_in.memory = measured[63:48];
        hdr.packet_in.queue_depth = measured[47:32];
        hdr.packet_in.backlog = measured[31:0];
        meta.kind = kind_t.CONTROL;
        std.egress_spec = CPU_PORT;
    }

    apply {
        meta.from_cpu = 1;
        if (hdr.packet_out.op == packet_out_t.SEND && hdr.packet_out.port <= (bit<16>)CPU_PORT) {
            send();
        } else if (hdr.packet_out.op == packet_out_t.INJECT && hdr.packet_out.port <= (bit<16>)CPU_PORT) {
            inject();
        } else if (hdr.packet_out.op == packet_out_t.PROBE
                   && (bit<32>)hdr.packet_out.service < SERVICES && (bit<32>)hdr.packet_out.member < MEMBERS) {
            hdr.packet_in.setValid();
            read_state();
            answer();
            hdr.packet_in.age = generation == 0 ? NEVER : elapsed(meta.now, arrival);
            hdr.packet_in.eligible = hdr.packet_in.rank == NOT_ELIGIBLE ? 8w0 : 1;
            hdr.packet_in.host = host[6:6] == 0 ? NO_MEMBER_16 : (bit<16>)host[5:0];
            hdr.packet_in.best = best[53:6] == NOT_ELIGIBLE ? NO_MEMBER_16 : (bit<16>)best[5:0];
        } else {
            meta.drop = drop_t.PACKET_OUT;
        }
        hdr.packet_out.setInvalid();
    }
}
