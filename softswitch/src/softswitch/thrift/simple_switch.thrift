// Service "simple_switch" of BMv2's simple_switch: clone sessions, queues, clocks.

struct CloneSession { 1: optional i32 port, 2: optional i32 group }

enum CloneSessionError { SESSION_NOT_FOUND = 1 }
exception BadCloneSessionCall { 1: CloneSessionError code }

service SimpleSwitch {
  void mirroring_session_add(1: i32 session, 2: CloneSession content) throws (1: BadCloneSessionCall error),
  void mirroring_session_delete(1: i32 session) throws (1: BadCloneSessionCall error),
  CloneSession mirroring_session_get(1: i32 session) throws (1: BadCloneSessionCall error),
  i32 mirroring_mapping_add(1: i32 session, 2: i32 port),
  i32 mirroring_mapping_delete(1: i32 session),
  i32 mirroring_mapping_get_egress_port(1: i32 session),

  i32 set_egress_priority_queue_depth(1: i32 port, 2: i32 priority, 3: i32 packets),
  i32 set_egress_queue_depth(1: i32 port, 2: i32 packets),
  i32 set_all_egress_queue_depths(1: i32 packets),
  i32 set_egress_priority_queue_rate(1: i32 port, 2: i32 priority, 3: i64 packets_per_second),
  i32 set_egress_queue_rate(1: i32 port, 2: i64 packets_per_second),
  i32 set_all_egress_queue_rates(1: i64 packets_per_second),

  i64 get_time_elapsed_us(),
  i64 get_time_since_epoch_us()
}
