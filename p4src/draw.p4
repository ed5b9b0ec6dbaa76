// SPDX-License-Identifier: Apache-2.0

// The first of a set's members at or after a slot, cyclically: find-first-set in six steps. The set must not be empty.

control Draw(in members_t set, in member_t start, out member_t member) {
    apply {
        members_t map = (set >> start) | (set << (7w64 - (bit<7>)start));
        member_t skip = 0;
        if (map[31:0] == 0) { map = map >> 32; skip = 32; }
        if (map[15:0] == 0) { map = map >> 16; skip = skip + 16; }
        if (map[7:0] == 0)  { map = map >> 8;  skip = skip + 8; }
        if (map[3:0] == 0)  { map = map >> 4;  skip = skip + 4; }
        if (map[1:0] == 0)  { map = map >> 2;  skip = skip + 2; }
        if (map[0:0] == 0)  { skip = skip + 1; }
        member = start + skip;
    }
}
