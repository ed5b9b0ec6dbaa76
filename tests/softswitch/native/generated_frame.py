"""What all programs made at random have in common: the parser, checksums, the deparser."""

FRAME = """
parser P(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.base);
        transition select(hdr.base.kind, hdr.base.more) {
            (0, _): accept;
            (1, _): one;
            (2 .. 3, _): two;
            (4 &&& 0xfe, _): stack;
            (8, _): ahead;
            (9, 0 .. 200): both;
            (16 &&& 0xf0, _): variable;
            default: accept;
        }
    }
    state one { packet.extract(hdr.h1); transition accept; }
    state two { packet.extract(hdr.h2); transition accept; }
    state both { packet.extract(hdr.h1); packet.extract(hdr.h2); transition stack; }
    state stack {
        packet.extract(hdr.st.next);
        transition select(hdr.st.last.bos) { 0: stack; 0x80 &&& 0x81: stack; default: accept; }
    }
    state ahead {
        meta.again = packet.lookahead<bit<16>>()[11:4] & 0xfc;
        packet.advance((bit<32>)(hdr.base.more & 3) << 3);
        transition select(packet.lookahead<bit<8>>()) { 0: one; default: accept; }
    }
    state variable {
        packet.extract(hdr.v, (bit<32>)packet.lookahead<bit<8>>() << 3);
        verify(hdr.v.after != 0xffff, error.ParserInvalidArgument);
        transition one;
    }
}
control V(inout headers_t hdr, inout metadata_t meta) {
    apply { verify_checksum(hdr.v.isValid(), { hdr.v.length, hdr.v.body }, hdr.v.after, HashAlgorithm.csum16); }
}
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
@INGRESS_DECLARATIONS@
    apply {
        std.egress_spec = 1;
        if (!hdr.base.isValid()) { mark_to_drop(std); exit; }
@INGRESS@
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
@EGRESS_DECLARATIONS@
    apply {
@EGRESS@
        hdr.o.setValid();
        @SHOW@
        hdr.o.bad = (bit<8>)(bit<1>)std.checksum_error | (std.parser_error == error.NoError ? 8w0 : 2);
    }
}
control C(inout headers_t hdr, inout metadata_t meta) {
    apply { update_checksum(hdr.o.isValid(), { @SUMMED@ }, hdr.o.sum, HashAlgorithm.csum16); }
}
control D(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.o); packet.emit(hdr.base); packet.emit(hdr.h1); packet.emit(hdr.h2); packet.emit(hdr.st);
        packet.emit(hdr.v);
    }
}
V1Switch(P(), V(), I(), E(), C(), D()) main;
"""
