"""BMv2 JSON, as p4c-bm2-ss writes it, read into typed values."""
