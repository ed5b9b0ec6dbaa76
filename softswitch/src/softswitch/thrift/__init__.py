"""The Thrift services of BMv2's simple_switch, which simple_switch_CLI and p4-utils drive."""
