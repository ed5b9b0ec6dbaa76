// Service "standard" of BMv2's simple_switch: programs, tables, what they hold, ports.
//
// The names of methods and the numbers and types of fields are those that simple_switch_CLI sends and expects. Names of
// types and fields do not travel. Every `context` is 0: a switch has one.

enum MatchType { EXACT = 0, LPM = 1, TERNARY = 2, VALID = 3, RANGE = 4 }

struct ExactMatch { 1: binary key }
struct LpmMatch { 1: binary key, 2: i32 prefix_length }
struct TernaryMatch { 1: binary key, 2: binary mask }
struct ValidMatch { 1: bool key }
struct RangeMatch { 1: binary low, 2: binary high }

struct Match {
  1: MatchType type,
  2: optional ExactMatch exact,
  3: optional LpmMatch lpm,
  4: optional TernaryMatch ternary,
  5: optional ValidMatch valid,
  6: optional RangeMatch range
}

// The entry of the smallest priority wins.
struct EntryOptions { 1: optional i32 priority }

enum ActionKind { NONE = 0, ACTION_DATA = 1, MEMBER = 2, GROUP = 3 }

struct EntryAction {
  1: ActionKind kind,
  2: optional string action,
  3: optional list<binary> parameters,
  4: optional i32 member,
  5: optional i32 group
}

struct EntryLife { 1: i32 timeout_ms, 2: i32 since_hit_ms }

struct Entry {
  1: list<Match> key,
  2: EntryOptions options,
  3: i32 handle,
  4: EntryAction action,
  5: optional EntryLife life
}

struct Member { 1: i32 handle, 2: string action, 3: list<binary> parameters }
struct Group { 1: i32 handle, 2: list<i32> members }

struct CounterValue { 1: i64 octets, 2: i64 packets }

// Packets or bytes a microsecond, and packets or bytes.
struct MeterRate { 1: double rate, 2: i32 burst }

enum TableError {
  TABLE_FULL = 1,
  INVALID_HANDLE = 2,
  EXPIRED_HANDLE = 3,
  COUNTERS_DISABLED = 4,
  METERS_DISABLED = 5,
  AGEING_DISABLED = 6,
  INVALID_TABLE_NAME = 7,
  INVALID_ACTION_NAME = 8,
  WRONG_TABLE_TYPE = 9,
  INVALID_MBR_HANDLE = 10,
  MBR_STILL_USED = 11,
  MBR_ALREADY_IN_GRP = 12,
  MBR_NOT_IN_GRP = 13,
  INVALID_GRP_HANDLE = 14,
  GRP_STILL_USED = 15,
  EMPTY_GRP = 16,
  DUPLICATE_ENTRY = 17,
  BAD_MATCH_KEY = 18,
  INVALID_METER_OPERATION = 19,
  DEFAULT_ACTION_IS_CONST = 20,
  DEFAULT_ENTRY_IS_CONST = 21,
  NO_DEFAULT_ENTRY = 22,
  INVALID_ACTION_PROFILE_NAME = 23,
  NO_ACTION_PROFILE_SELECTION = 24,
  IMMUTABLE_TABLE_ENTRIES = 25,
  BAD_ACTION_DATA = 26,
  NO_TABLE_KEY = 27,
  ERROR = 100
}
exception BadTableCall { 1: TableError code }

enum CounterError { INVALID_COUNTER_NAME = 1, INVALID_INDEX = 2, ERROR = 3 }
exception BadCounterCall { 1: CounterError code }

enum MeterError {
  INVALID_METER_NAME = 1,
  INVALID_INDEX = 2,
  BAD_RATES_LIST = 3,
  INVALID_INFO_RATE_VALUE = 4,
  INVALID_BURST_SIZE_VALUE = 5,
  ERROR = 6
}
exception BadMeterCall { 1: MeterError code }

enum RegisterError { INVALID_REGISTER_NAME = 1, INVALID_INDEX = 2, ERROR = 3 }
exception BadRegisterCall { 1: RegisterError code }

enum ValueSetError { INVALID_PARSE_VSET_NAME = 1, ERROR = 2 }
exception BadValueSetCall { 1: ValueSetError code }

enum LearnError { INVALID_LIST_ID = 1, INVALID_LIST_NAME = 2, ERROR = 3 }
exception BadLearnCall { 1: LearnError code }

enum SwapError { CONFIG_SWAP_DISABLED = 1, ONGOING_SWAP = 2, NO_ONGOING_SWAP = 3 }
exception BadSwapCall { 1: SwapError code }

enum PortError { ERROR = 1 }
exception BadPortCall { 1: PortError code }

struct Port { 1: i32 number, 2: string iface, 3: bool up, 4: map<string, string> extra }

struct Crc16 { 1: i16 polynomial, 2: i16 initial, 3: i16 final_xor, 4: bool reflect_data, 5: bool reflect_remainder }
struct Crc32 { 1: i32 polynomial, 2: i32 initial, 3: i32 final_xor, 4: bool reflect_data, 5: bool reflect_remainder }

enum CalculationError { INVALID_CALCULATION_NAME = 1, WRONG_TYPE_CALCULATION = 2, INVALID_CONFIG = 3 }
exception BadCalculationCall { 1: CalculationError code }

struct Info {
  1: i64 device_id,
  2: i32 thrift_port,
  3: optional string notifications,
  4: optional string event_log,
  5: optional string debugger
}

enum Resource { MATCH_TABLE = 0, ACTION_PROFILE = 1, COUNTER = 2, METER = 3, REGISTER = 4, LEARNING_LIST = 5 }
enum LookupError { INVALID_RESOURCE_TYPE = 0, INVALID_RESOURCE_NAME = 1 }
exception BadLookup { 1: LookupError code }

service Standard {
  // tables of both kinds
  i64 bm_mt_get_num_entries(1: i32 context, 2: string table) throws (1: BadTableCall error),
  void bm_mt_clear_entries(1: i32 context, 2: string table, 3: bool reset_default) throws (1: BadTableCall error),
  list<Entry> bm_mt_get_entries(1: i32 context, 2: string table) throws (1: BadTableCall error),
  Entry bm_mt_get_entry(1: i32 context, 2: string table, 3: i32 handle) throws (1: BadTableCall error),
  EntryAction bm_mt_get_default_entry(1: i32 context, 2: string table) throws (1: BadTableCall error),
  Entry bm_mt_get_entry_from_key(1: i32 context, 2: string table, 3: list<Match> key, 4: EntryOptions options)
    throws (1: BadTableCall error),

  // tables whose entries hold actions
  i32 bm_mt_add_entry(
    1: i32 context, 2: string table, 3: list<Match> key, 4: string action, 5: list<binary> parameters,
    6: EntryOptions options
  ) throws (1: BadTableCall error),
  void bm_mt_modify_entry(
    1: i32 context, 2: string table, 3: i32 handle, 4: string action, 5: list<binary> parameters
  ) throws (1: BadTableCall error),
  void bm_mt_delete_entry(1: i32 context, 2: string table, 3: i32 handle) throws (1: BadTableCall error),
  void bm_mt_set_entry_ttl(1: i32 context, 2: string table, 3: i32 handle, 4: i32 timeout_ms)
    throws (1: BadTableCall error),
  void bm_mt_set_default_action(1: i32 context, 2: string table, 3: string action, 4: list<binary> parameters)
    throws (1: BadTableCall error),
  void bm_mt_reset_default_entry(1: i32 context, 2: string table) throws (1: BadTableCall error),

  // action profiles
  i32 bm_mt_act_prof_add_member(1: i32 context, 2: string profile, 3: string action, 4: list<binary> parameters)
    throws (1: BadTableCall error),
  void bm_mt_act_prof_delete_member(1: i32 context, 2: string profile, 3: i32 member) throws (1: BadTableCall error),
  void bm_mt_act_prof_modify_member(
    1: i32 context, 2: string profile, 3: i32 member, 4: string action, 5: list<binary> parameters
  ) throws (1: BadTableCall error),
  i32 bm_mt_act_prof_create_group(1: i32 context, 2: string profile) throws (1: BadTableCall error),
  void bm_mt_act_prof_delete_group(1: i32 context, 2: string profile, 3: i32 group) throws (1: BadTableCall error),
  void bm_mt_act_prof_add_member_to_group(1: i32 context, 2: string profile, 3: i32 member, 4: i32 group)
    throws (1: BadTableCall error),
  void bm_mt_act_prof_remove_member_from_group(1: i32 context, 2: string profile, 3: i32 member, 4: i32 group)
    throws (1: BadTableCall error),
  list<Member> bm_mt_act_prof_get_members(1: i32 context, 2: string profile) throws (1: BadTableCall error),
  Member bm_mt_act_prof_get_member(1: i32 context, 2: string profile, 3: i32 member) throws (1: BadTableCall error),
  list<Group> bm_mt_act_prof_get_groups(1: i32 context, 2: string profile) throws (1: BadTableCall error),
  Group bm_mt_act_prof_get_group(1: i32 context, 2: string profile, 3: i32 group) throws (1: BadTableCall error),

  // tables whose entries refer to an action profile
  i32 bm_mt_indirect_add_entry(
    1: i32 context, 2: string table, 3: list<Match> key, 4: i32 member, 5: EntryOptions options
  ) throws (1: BadTableCall error),
  void bm_mt_indirect_modify_entry(1: i32 context, 2: string table, 3: i32 handle, 4: i32 member)
    throws (1: BadTableCall error),
  void bm_mt_indirect_delete_entry(1: i32 context, 2: string table, 3: i32 handle) throws (1: BadTableCall error),
  void bm_mt_indirect_set_entry_ttl(1: i32 context, 2: string table, 3: i32 handle, 4: i32 timeout_ms)
    throws (1: BadTableCall error),
  void bm_mt_indirect_set_default_member(1: i32 context, 2: string table, 3: i32 member)
    throws (1: BadTableCall error),
  void bm_mt_indirect_reset_default_entry(1: i32 context, 2: string table) throws (1: BadTableCall error),
  i32 bm_mt_indirect_ws_add_entry(
    1: i32 context, 2: string table, 3: list<Match> key, 4: i32 group, 5: EntryOptions options
  ) throws (1: BadTableCall error),
  void bm_mt_indirect_ws_modify_entry(1: i32 context, 2: string table, 3: i32 handle, 4: i32 group)
    throws (1: BadTableCall error),
  void bm_mt_indirect_ws_set_default_group(1: i32 context, 2: string table, 3: i32 group)
    throws (1: BadTableCall error),

  // counters and meters of entries
  CounterValue bm_mt_read_counter(1: i32 context, 2: string table, 3: i32 handle) throws (1: BadTableCall error),
  void bm_mt_reset_counters(1: i32 context, 2: string table) throws (1: BadTableCall error),
  void bm_mt_write_counter(1: i32 context, 2: string table, 3: i32 handle, 4: CounterValue value)
    throws (1: BadTableCall error),
  void bm_mt_set_meter_rates(1: i32 context, 2: string table, 3: i32 handle, 4: list<MeterRate> rates)
    throws (1: BadTableCall error),
  list<MeterRate> bm_mt_get_meter_rates(1: i32 context, 2: string table, 3: i32 handle)
    throws (1: BadTableCall error),

  // arrays
  CounterValue bm_counter_read(1: i32 context, 2: string counter, 3: i32 index) throws (1: BadCounterCall error),
  void bm_counter_reset_all(1: i32 context, 2: string counter) throws (1: BadCounterCall error),
  void bm_counter_write(1: i32 context, 2: string counter, 3: i32 index, 4: CounterValue value)
    throws (1: BadCounterCall error),
  void bm_meter_array_set_rates(1: i32 context, 2: string meter, 3: list<MeterRate> rates)
    throws (1: BadMeterCall error),
  void bm_meter_set_rates(1: i32 context, 2: string meter, 3: i32 index, 4: list<MeterRate> rates)
    throws (1: BadMeterCall error),
  list<MeterRate> bm_meter_get_rates(1: i32 context, 2: string meter, 3: i32 index) throws (1: BadMeterCall error),
  i64 bm_register_read(1: i32 context, 2: string array, 3: i32 index) throws (1: BadRegisterCall error),
  list<i64> bm_register_read_all(1: i32 context, 2: string array) throws (1: BadRegisterCall error),
  void bm_register_write(1: i32 context, 2: string array, 3: i32 index, 4: i64 value)
    throws (1: BadRegisterCall error),
  void bm_register_write_range(1: i32 context, 2: string array, 3: i32 first, 4: i32 beyond, 5: i64 value)
    throws (1: BadRegisterCall error),
  void bm_register_reset(1: i32 context, 2: string array) throws (1: BadRegisterCall error),

  // parser value sets
  void bm_parse_vset_add(1: i32 context, 2: string value_set, 3: binary value) throws (1: BadValueSetCall error),
  void bm_parse_vset_remove(1: i32 context, 2: string value_set, 3: binary value) throws (1: BadValueSetCall error),
  list<binary> bm_parse_vset_get(1: i32 context, 2: string value_set) throws (1: BadValueSetCall error),
  void bm_parse_vset_clear(1: i32 context, 2: string value_set) throws (1: BadValueSetCall error),

  // digests
  void bm_learning_ack(1: i32 context, 2: i32 digest, 3: i64 buffer, 4: list<i32> samples)
    throws (1: BadLearnCall error),
  void bm_learning_ack_buffer(1: i32 context, 2: i32 digest, 3: i64 buffer) throws (1: BadLearnCall error),
  void bm_learning_set_timeout(1: i32 context, 2: i32 digest, 3: i32 timeout_ms) throws (1: BadLearnCall error),
  void bm_learning_set_buffer_size(1: i32 context, 2: i32 digest, 3: i32 samples) throws (1: BadLearnCall error),

  // programs
  void bm_load_new_config(1: string text) throws (1: BadSwapCall error),
  void bm_swap_configs() throws (1: BadSwapCall error),
  void bm_reset_state(),
  string bm_get_config(),
  binary bm_get_config_md5(),
  string bm_serialize_state(),
  i32 bm_get_id_from_name(1: i32 context, 2: Resource kind, 3: string name) throws (1: BadLookup error),
  void bm_set_crc16_custom_parameters(1: i32 context, 2: string calculation, 3: Crc16 parameters)
    throws (1: BadCalculationCall error),
  void bm_set_crc32_custom_parameters(1: i32 context, 2: string calculation, 3: Crc32 parameters)
    throws (1: BadCalculationCall error),
  void bm_set_toeplitz_hash_key(1: i32 context, 2: string calculation, 3: binary key)
    throws (1: BadCalculationCall error),

  // ports, and the switch
  void bm_dev_mgr_add_port(1: string iface, 2: i32 port, 3: string pcap) throws (1: BadPortCall error),
  void bm_dev_mgr_remove_port(1: i32 port) throws (1: BadPortCall error),
  list<Port> bm_dev_mgr_show_ports(),
  Info bm_mgmt_get_info()
}
