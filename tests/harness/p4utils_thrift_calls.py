"""Calls of p4-utils' Thrift API (`SimpleSwitchThriftAPI`), as its exercises make them. Runs where p4-utils and BMv2's
Python modules can be imported: ``python p4utils_thrift_calls.py PORT``, for a switch with the program `everything`;
prints what each came to as JSON, one a line.
"""

import sys

from p4utils.utils.sswitch_thrift_API import SimpleSwitchThriftAPI
from p4utils_attempts import attempt

EXACT, TERNARY, KEYLESS = "exact_table", "ternary_table", "keyless_table"
CELLS = "by_kind"
RANGED = ["5", "0x1200&&&0xff00", "0->65535", "0&&&0"]


def tables(api):
    """Entries by handle and by key, default entries."""
    yield "table_add", lambda: api.table_add(EXACT, "forward", ["7"], ["3"]) == 0, ""
    yield "table_add, again", lambda: api.table_add(EXACT, "forward", ["7"], ["3"]), "DUPLICATE_ENTRY"
    yield "table_add, ternary and range", lambda: api.table_add(TERNARY, "drop", RANGED, [], 10) is not None, ""
    yield "table_num_entries", lambda: api.table_num_entries(EXACT) == 1, ""
    yield "table_modify_match", lambda: api.table_modify_match(EXACT, "forward", ["7"], ["4"]) == 0, ""
    yield "table_dump", lambda: api.table_dump(EXACT), "EverythingIngress.forward - 0004"
    yield "table_dump_entry_from_key", lambda: api.table_dump_entry_from_key(EXACT, ["7"]), "0004"
    yield "table_delete, no such", lambda: api.table_delete(EXACT, 99), "INVALID_HANDLE"
    yield "table_delete_match", lambda: api.table_delete_match(EXACT, ["7"]) or api.table_num_entries(EXACT) == 0, ""
    yield "table_clear", lambda: api.table_clear(TERNARY) or api.table_num_entries(TERNARY) == 0, ""
    yield "table_set_default", lambda: api.table_set_default(KEYLESS, "forward", ["6"]), "Setting default action"
    yield "table_reset_default", lambda: api.table_reset_default(KEYLESS) is None, ""


def arrays(api):
    """Counters and registers."""
    # it sends the name as it is given
    yield "counter_write", lambda: api.counter_write(f"EverythingIngress.{CELLS}", 3, 2, 200), "has been updated"
    yield "counter_read", lambda: api.counter_read(CELLS, 3) == (200, 2), ""
    yield "counter_reset", lambda: api.counter_reset(CELLS) or api.counter_read(CELLS, 3) == (0, 0), ""
    yield "register_write", lambda: api.register_write("wide_register", 3, 77) is None, ""
    yield "register_read", lambda: api.register_read("wide_register", 3) == 77, ""
    yield "register_read, all", lambda: api.register_read("signed_register") == [0, 0, 0, 0], ""
    yield (
        "register_reset",
        lambda: api.register_reset("wide_register") or api.register_read("wide_register", 3) == 0,
        "",
    )


def replication(api):
    """Multicast groups, clone sessions."""
    yield "mc_mgrp_create", lambda: api.mc_mgrp_create(5) == 5, ""
    yield "mc_node_create", lambda: api.mc_node_create(2, [1, 5, 8]) == 0, ""
    yield "mc_node_associate", lambda: api.mc_node_associate(5, 0), "Associating node 0 to multicast group 5"
    yield "mc_dump", api.mc_dump, "(ports=[1, 5, 8], lags=[])"
    yield "mc_node_update", lambda: api.mc_node_update(0, [2, 3]) == 0, ""
    yield "mc_node_dissociate", lambda: api.mc_node_dissociate(5, 0), "Dissociating node 0"
    yield "mc_node_destroy", lambda: api.mc_node_destroy(0), "Destroying node 0"
    yield "mc_mgrp_destroy", lambda: api.mc_mgrp_destroy(5), "Destroying multicast group 5"
    yield "mirroring_add", lambda: api.mirroring_add(9, 2) is None, ""
    yield "mirroring_get", lambda: api.mirroring_get(9), "port=2"
    yield "mirroring_delete", lambda: api.mirroring_delete(9) is None, ""
    yield "mirroring_get, no such", lambda: api.mirroring_get(9), "SESSION_NOT_FOUND"


def switch(api):
    """Ports, the clock, the switch itself."""
    yield "show_ports", api.show_ports, "port #"
    yield "port_remove, no such", lambda: api.port_remove(7), "Invalid device manager operation"
    yield "get_time_elapsed", lambda: api.get_time_elapsed() is None, ""
    yield "reset_state", lambda: api.reset_state() or api.table_num_entries(EXACT) == 0, ""


def main():
    """Each call in turn."""
    api = attempt("connects, reads the program", lambda: SimpleSwitchThriftAPI(int(sys.argv[1])))
    if api is None:
        return
    for part in (tables, arrays, replication, switch):
        for name, call, prints in part(api):
            attempt(name, call, prints)


main()
