// Package insecure is what gRPC has by this name since 1.34: no protection at all. Debian's gRPC is 1.33.
//
// That gRPC packs messages with a protobuf older than the messages, so this package also brings a codec of today's.
package insecure

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	older "google.golang.org/grpc/encoding/proto"
	"google.golang.org/protobuf/proto"
)

type codec struct{}

func init() {
	// takes the place of gRPC's own, which registers itself first, since it is imported here
	encoding.RegisterCodec(codec{})
}

func (codec) Name() string { return older.Name }

func (codec) Marshal(value interface{}) ([]byte, error) {
	message, ok := value.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message of protobuf", value)
	}
	return proto.Marshal(message)
}

func (codec) Unmarshal(data []byte, value interface{}) error {
	message, ok := value.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message of protobuf", value)
	}
	return proto.Unmarshal(data, message)
}

type plain struct{}

type nothing struct{}

func (nothing) AuthType() string { return "insecure" }

// NewCredentials returns credentials that leave a connection as it is.
func NewCredentials() credentials.TransportCredentials { return plain{} }

func (plain) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, nothing{}, nil
}

func (plain) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, nothing{}, nil
}

func (plain) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

func (plain) Clone() credentials.TransportCredentials { return plain{} }

func (plain) OverrideServerName(string) error { return nil }
