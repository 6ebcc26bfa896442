package main

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rounds is how many calls are made with each kind of header block.
const rounds = 20

// common is the metadata that all calls have, so that a dynamic table makes it short.
const common = "the same in every call, and too long to be written out each time"

// defaultTableSize is what holds until SETTINGS say otherwise (RFC 9113, section 6.5.2).
const defaultTableSize = 4096

// emptyMessage is a message without bytes, behind its prefix.
var emptyMessage = make([]byte, 5)

// blocks is what came of the calls with one kind of header block.
type blocks struct {
	// Sizes of the header blocks in bytes.
	Sizes []int `json:"sizes"`
	// Statuses counts the calls by grpc-status.
	Statuses map[string]int `json:"statuses"`
	// Echoed counts the answers that gave the metadata back as it was sent.
	Echoed int `json:"echoed"`
}

// encoder makes calls with HPACK blocks that use the dynamic table, which is right until the server's
// SETTINGS are known, and then with blocks that do not, as a server may ask for. grpc-go and grpc-c wait for
// the SETTINGS, so neither of them shows the first.
func encoder(addr string) (any, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	client := &rawClient{conn: conn, authority: addr, nextID: 1, tableSize: defaultTableSize}
	client.encoder = hpack.NewEncoder(&client.block)
	client.framer = http2.NewFramer(&client.out, conn)
	client.framer.ReadMetaHeaders = hpack.NewDecoder(defaultTableSize, nil)

	client.out.WriteString(http2.ClientPreface)
	if err := client.framer.WriteSettings(); err != nil {
		return nil, err
	}
	dynamic, err := client.makeCalls()
	if err != nil {
		return nil, err
	}
	client.encoder.SetMaxDynamicTableSize(0)
	stateless, err := client.makeCalls()
	if err != nil {
		return nil, err
	}
	return map[string]any{"tableSize": client.tableSize, "dynamic": dynamic, "stateless": stateless}, nil
}

// rawClient is as much of an HTTP/2 client as calls without a body need.
type rawClient struct {
	conn      net.Conn
	authority string
	out       bytes.Buffer
	framer    *http2.Framer
	block     bytes.Buffer
	encoder   *hpack.Encoder
	nextID    uint32
	// tableSize is how large the server lets the dynamic table be.
	tableSize uint32
}

// makeCalls writes all calls at once, with nothing read before, and then reads the answers.
func (c *rawClient) makeCalls() (*blocks, error) {
	made := &blocks{Statuses: map[string]int{}}
	for range rounds {
		size, err := c.writeCall()
		if err != nil {
			return nil, err
		}
		made.Sizes = append(made.Sizes, size)
	}
	if _, err := c.out.WriteTo(c.conn); err != nil {
		return nil, err
	}
	for ended := 0; ended < rounds; {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if err := c.onSettings(frame); err != nil {
				return nil, err
			}
		case *http2.MetaHeadersFrame:
			for _, field := range frame.RegularFields() {
				if field.Name == "grpc-status" {
					made.Statuses[field.Value]++
				}
				if field.Name == "x-grpc-test-echo-initial" && field.Value == common {
					made.Echoed++
				}
			}
			if frame.StreamEnded() {
				ended++
			}
		case *http2.RSTStreamFrame:
			return nil, fmt.Errorf("stream %d was reset with %v", frame.StreamID, frame.ErrCode)
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("GOAWAY came with %v", frame.ErrCode)
		}
	}
	return made, nil
}

// writeCall writes the frames of one call and says how large its header block is.
func (c *rawClient) writeCall() (int, error) {
	c.block.Reset()
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", "/grpc.testing.TestService/UnaryCall"},
		{":authority", c.authority},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"x-grpc-test-echo-initial", common},
	} {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return 0, err
		}
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      c.nextID,
		BlockFragment: c.block.Bytes(),
		EndHeaders:    true,
	})
	if err != nil {
		return 0, err
	}
	if err := c.framer.WriteData(c.nextID, true, emptyMessage); err != nil {
		return 0, err
	}
	c.nextID += 2
	return c.block.Len(), nil
}

func (c *rawClient) onSettings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	if size, ok := frame.Value(http2.SettingHeaderTableSize); ok {
		c.tableSize = size
	}
	return c.framer.WriteSettingsAck()
}
