// Services "simple_pre" and "simple_pre_lag" of BMv2's simple_switch: multicast groups, made of nodes. Maps of ports are
// strings of 0 and 1, port 0 last.

enum ReplicationError {
  TABLE_FULL = 1,
  INVALID_MGID = 2,
  INVALID_MGRP_HANDLE = 3,
  INVALID_L1_HANDLE = 4,
  ERROR = 5
}
exception BadReplicationCall { 1: ReplicationError code }

service SimplePre {
  i32 bm_mc_mgrp_create(1: i32 context, 2: i32 group) throws (1: BadReplicationCall error),
  void bm_mc_mgrp_destroy(1: i32 context, 2: i32 group) throws (1: BadReplicationCall error),
  i32 bm_mc_node_create(1: i32 context, 2: i32 instance, 3: string ports) throws (1: BadReplicationCall error),
  void bm_mc_node_associate(1: i32 context, 2: i32 group, 3: i32 node) throws (1: BadReplicationCall error),
  void bm_mc_node_dissociate(1: i32 context, 2: i32 group, 3: i32 node) throws (1: BadReplicationCall error),
  void bm_mc_node_destroy(1: i32 context, 2: i32 node) throws (1: BadReplicationCall error),
  void bm_mc_node_update(1: i32 context, 2: i32 node, 3: string ports) throws (1: BadReplicationCall error),
  string bm_mc_get_entries(1: i32 context) throws (1: BadReplicationCall error)
}

service SimplePreLAG {
  i32 bm_mc_mgrp_create(1: i32 context, 2: i32 group) throws (1: BadReplicationCall error),
  void bm_mc_mgrp_destroy(1: i32 context, 2: i32 group) throws (1: BadReplicationCall error),
  i32 bm_mc_node_create(1: i32 context, 2: i32 instance, 3: string ports, 4: string lags)
    throws (1: BadReplicationCall error),
  void bm_mc_node_associate(1: i32 context, 2: i32 group, 3: i32 node) throws (1: BadReplicationCall error),
  void bm_mc_node_dissociate(1: i32 context, 2: i32 group, 3: i32 node) throws (1: BadReplicationCall error),
  void bm_mc_node_destroy(1: i32 context, 2: i32 node) throws (1: BadReplicationCall error),
  void bm_mc_node_update(1: i32 context, 2: i32 node, 3: string ports, 4: string lags)
    throws (1: BadReplicationCall error),
  void bm_mc_set_lag_membership(1: i32 context, 2: i16 lag, 3: string ports) throws (1: BadReplicationCall error),
  string bm_mc_get_entries(1: i32 context) throws (1: BadReplicationCall error)
}
