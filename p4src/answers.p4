// SPDX-License-Identifier: Apache-2.0

// What instances answer, as far as it crosses this switch: packets from a service's port, and from its address or the
// node's own, that come in by the port of an instance's node. Answers go straight to the client, so the node's own switch
// sees all of them, whoever steered the request, and no other switch need see any. Held against what the instance says that it received
// (controller/steering/claims.py), they show whether it does what it claims.

control Answers(in ipv4_h ipv4, in metadata_t meta) {
    // Packets that an instance sent from its port; index: service ++ member.
    @id(0x12000007) @name(".answered")
    counter<instance_t>(INSTANCES, CounterType.packets_and_bytes) answered;

    @id(0x01000080) @name(".from_instance")
    action from_instance(@id(1) service_t service, @id(2) member_t member) {
        answered.count(service ++ member);
    }

    // Two entries an instance whose node is behind this switch: it also answers at the node's own address.
    @id(0x02000080) @name(".answers")
    table answers {
        key = {
            meta.port: exact @id(1) @name("port");
            ipv4.src: exact @id(2) @name("address");
            ipv4.protocol: exact @id(3) @name("protocol");
            meta.src_port: exact @id(4) @name("service_port");
        }
        actions = {
            from_instance;
            @defaultonly NoAction;
        }
        const default_action = NoAction;
        size = INSTANCES << 1;
    }

    apply {
        answers.apply();
    }
}
