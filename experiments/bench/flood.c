/* SPDX-License-Identifier: Apache-2.0 */
/* Sends requests to services at random, faster than a packet socket takes them: the kernel makes the frames (BPF_PROG_RUN with
 * live frames, Linux 5.18), and an XDP program writes the service into each and redirects it to the interface. The far end of
 * a veth pair takes such frames only with generic receive offload on (ethtool -K PEER gro on).
 *
 *   flood INTERFACE FIRST COUNT NODES_NAMESPACE NODES_INTERFACE SECONDS
 *
 *   flood --check
 *
 * Services FIRST to FIRST + COUNT - 1, COUNT a power of two. Prints how many frames a second come out at the nodes. With
 * --check it only finds out whether the kernel can do this. */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "arrivals.h"

enum {
    FRAMES_A_BATCH = 64,
    LENGTH = HEADERS + INVOCATION,
    ID_AT = 14 + 4,
    DESTINATION_AT = 14 + 16,
    SERVICE_ID_AT = HEADERS + BYTE_OF(invocation, service_id),
};

/* Registers: 1 to 5 are lost in a call, 6 to 9 are kept. */
enum { ARGUMENT_1 = 1, ARGUMENT_2 = 2, VALUE = 3, LIMIT = 4, END = 5, DATA = 6, SERVICE = 7, CONTEXT = 1 };

#define INSTRUCTION(op, to, from, offset, value) \
    {.code = (op), .dst_reg = (to), .src_reg = (from), .off = (offset), .imm = (int)(value)}
#define LOAD(to, member) INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, to, CONTEXT, offsetof(struct xdp_md, member), 0)
#define COPY(to, from) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define COMPUTE(to, op, value) INSTRUCTION(BPF_ALU64 | (op) | BPF_K, to, 0, 0, value)
#define TO_WIRE_16(to) INSTRUCTION(BPF_ALU | BPF_END | BPF_TO_BE, to, 0, 0, 16)
#define STORE_16(offset, from) INSTRUCTION(BPF_STX | BPF_MEM | BPF_H, DATA, from, offset, 0)
#define SKIP_IF_ABOVE(left, right, count) INSTRUCTION(BPF_JMP | BPF_JGT | BPF_X, left, right, count, 0)
#define CALL(function) INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static int bpf(int command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int load(const struct bpf_insn *program, size_t instructions)
{
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_XDP,
        .insns = (uint64_t)(uintptr_t)program,
        .insn_cnt = (uint32_t)instructions,
        .license = (uint64_t)(uintptr_t) "GPL",
    };
    int fd = bpf(BPF_PROG_LOAD, &attributes);
    if (fd < 0)
        fail("cannot load an XDP program");
    return fd;
}

static int load_requests(unsigned interface, unsigned first, unsigned count)
{
    const struct bpf_insn program[] = {
        LOAD(DATA, data),
        LOAD(END, data_end),
        COPY(LIMIT, DATA),
        COMPUTE(LIMIT, BPF_ADD, LENGTH),
        SKIP_IF_ABOVE(LIMIT, END, 18),
        CALL(BPF_FUNC_get_prandom_u32),
        COPY(SERVICE, BPF_REG_0),
        COMPUTE(SERVICE, BPF_AND, count - 1),
        /* What the destination grows by, the identification (zero) loses: the header's checksum stays right. */
        COPY(VALUE, SERVICE),
        COMPUTE(VALUE, BPF_XOR, 0xffff),
        TO_WIRE_16(VALUE),
        STORE_16(ID_AT, VALUE),
        COPY(VALUE, SERVICE),
        COMPUTE(VALUE, BPF_ADD, (SERVICES & 0xffff) + first),
        TO_WIRE_16(VALUE),
        STORE_16(DESTINATION_AT + 2, VALUE),
        COMPUTE(SERVICE, BPF_ADD, SERVICE_IDS + first),
        TO_WIRE_16(SERVICE),
        STORE_16(SERVICE_ID_AT, SERVICE),
        COMPUTE(ARGUMENT_1, BPF_MOV, interface),
        COMPUTE(ARGUMENT_2, BPF_MOV, 0),
        CALL(BPF_FUNC_redirect),
        EXIT,
        COMPUTE(BPF_REG_0, BPF_MOV, XDP_DROP),
        EXIT,
    };
    return load(program, sizeof program / sizeof *program);
}

static void send_frames(int program, const uint8_t *frame, uint32_t count)
{
    union bpf_attr attributes = {.test = {
        .prog_fd = (uint32_t)program,
        .data_in = (uint64_t)(uintptr_t)frame,
        .data_size_in = LENGTH,
        .repeat = count,
        .batch_size = FRAMES_A_BATCH,
        .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
    }};
    if (bpf(BPF_PROG_TEST_RUN, &attributes))
        fail("cannot send live frames");
}

/* Makes some frames and drops them. */
static int check(void)
{
    const struct bpf_insn program[] = {COMPUTE(BPF_REG_0, BPF_MOV, XDP_DROP), EXIT};
    const uint8_t frame[LENGTH] = {0};
    send_frames(load(program, sizeof program / sizeof *program), frame, FRAMES_A_BATCH);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--check") == 0)
        return check();
    if (argc != 7)
        return 2;
    unsigned interface = if_nametoindex(argv[1]), first = (unsigned)atoi(argv[2]), count = (unsigned)atoi(argv[3]);
    if (interface == 0)
        fail(argv[1]);
    if (count == 0 || count & (count - 1))
        return 2;
    uint8_t frame[FRAME];
    uint8_t *at = put_headers(frame, client_mac(), CLIENT, CLIENT_PORT, SERVICES + first, SERVICE_PORT, INVOCATION);
    put_invocation(at, REQUEST, SERVICE_IDS + first, 0, 0);
    int program = load_requests(interface, first, count);
    count_arrivals(argv[4], argv[5], atof(argv[6]));
    /* Few calls: the kernel's bookkeeping at the end of each takes many milliseconds. */
    for (;;)
        send_frames(program, frame, INT32_MAX);
}
