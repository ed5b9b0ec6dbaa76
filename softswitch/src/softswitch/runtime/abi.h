/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine and a compiled program know of each other. */
#ifndef SOFTSWITCH_ABI_H
#define SOFTSWITCH_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SS_ABI 3

typedef unsigned __int128 u128;
typedef __int128 i128;

struct ss_table;
struct ss_profile;
struct ss_meter;
struct ss_trace;

/* v1model's standard_metadata. Wider than the P4 fields where that is cheaper; stores mask to the P4 width. */
struct ss_std {
    uint64_t ingress_global_timestamp;
    uint64_t egress_global_timestamp;
    uint32_t ingress_port;
    uint32_t egress_spec;
    uint32_t egress_port;
    uint32_t instance_type;
    uint32_t packet_length;
    uint32_t enq_timestamp;
    uint32_t enq_qdepth;
    uint32_t deq_timedelta;
    uint32_t deq_qdepth;
    uint32_t mcast_grp;
    uint32_t egress_rid;
    uint32_t checksum_error;
    uint32_t parser_error;
    uint32_t priority;
};

/* Every program's packet header vector starts with this. */
struct ss_phv {
    struct ss_std std;
    const uint8_t *payload; /* what the parser left */
    uint32_t payload_length;
    uint32_t received; /* bytes as they came in: what counters count */
    uint32_t length; /* BMv2's packet length register: received, changed by setValid and setInvalid */
    uint32_t truncate; /* bytes that may leave at most */
    uint16_t clone_session; /* | SS_CLONE when asked for */
    uint16_t clone_list;
    uint16_t learn_list;
    uint16_t resubmit_list;
    uint16_t recirculate_list;
    uint8_t exit; /* the pipeline ends after this action */
    uint8_t failed; /* an assert failed: the packet is dropped */
};

#define SS_CLONE 0x8000u

/* standard_metadata.instance_type */
enum {
    SS_NORMAL = 0,
    SS_INGRESS_CLONE = 1,
    SS_EGRESS_CLONE = 2,
    SS_RECIRCULATED = 4,
    SS_REPLICATED = 5,
    SS_RESUBMITTED = 6,
};

enum ss_log_level { SS_INFO = 20, SS_WARNING = 30, SS_ERROR = 40 };

struct ss_cell {
    uint64_t packets;
    uint64_t octets;
};

/* What a program's code may ask of the engine. */
struct ss_host {
    uint64_t random[2];
    uint32_t drop_port;
    uint64_t (*now)(struct ss_host *host); /* microseconds of the data plane's clock */
    struct ss_trace *trace; /* of the packet under way, or NULL */
    void (*log)(struct ss_host *host, enum ss_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
};

/* All that a program remembers between packets. */
struct ss_state {
    struct ss_host *host;
    struct ss_table *tables;
    struct ss_cell **counters;
    struct ss_meter **meters;
    struct ss_profile *profiles;
    void **registers;
};

enum ss_match { SS_EXACT, SS_PREFIX, SS_MASKED, SS_RANGED };

struct ss_table_layout {
    uint32_t size;
    uint16_t words; /* of the key */
    uint16_t data_words; /* of the longest action data */
    uint16_t ranged; /* how many of the key's last words hold ranges */
    uint8_t match; /* enum ss_match */
    uint8_t idle; /* entries know when they were hit last */
    uint8_t metered; /* entries have a meter */
};

struct ss_profile_layout {
    uint32_t data_words; /* of the longest action data */
};

struct ss_array_layout {
    uint32_t size;
    uint32_t cell; /* bytes */
};

struct ss_program {
    uint32_t abi;
    uint32_t phv_size;
    uint32_t metadata_offset; /* user metadata inside the PHV: zeroed for every packet */
    uint32_t metadata_size;
    uint32_t headers_limit; /* bytes the deparser writes at most */
    uint32_t egress_clock; /* the program looks at egress timestamps */
    uint32_t n_tables; /* with the parser's value sets, which come last */
    uint32_t n_profiles;
    uint32_t n_counters;
    uint32_t n_meters;
    uint32_t n_registers;
    uint32_t n_pointers;
    const uint32_t *pointers; /* offsets in the PHV of what points into the packet */
    const struct ss_table_layout *tables;
    const struct ss_profile_layout *profiles;
    const struct ss_array_layout *counters;
    const struct ss_array_layout *meters;
    const struct ss_array_layout *registers;
    void (*parse)(struct ss_state *, struct ss_phv *, const uint8_t *data, uint32_t length);
    void (*ingress)(struct ss_state *, struct ss_phv *);
    void (*egress)(struct ss_state *, struct ss_phv *);
    /* Updates checksums, writes the valid headers to `out`, returns their length. */
    uint32_t (*deparse)(struct ss_state *, struct ss_phv *, uint8_t *out);
    /* Copies the fields of a field list. */
    void (*preserve)(struct ss_phv *to, const struct ss_phv *from, uint32_t list);
    /* Writes a digest's values, one each, and returns how many; at most SS_DIGEST_VALUES. */
    uint32_t (*digest)(const struct ss_phv *, uint32_t list, u128 *values);
};

#define SS_DIGEST_VALUES 64

#endif
