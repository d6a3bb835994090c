package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// sinkCommand is the hidden first argument that makes this program the sink:
// a process of its own, as a server is.
const sinkCommand = "sink"

// newSink starts a server that takes mail and forgets it. What the load
// reaches against it is the load's own limit on this machine.
func newSink(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	p := &process{name: "sink", smtp: addrs[0]}
	if err := p.start(self, sinkCommand, p.smtp); err != nil {
		return nil, err
	}
	if err := p.greets(ctx, p.smtp, 10*time.Second); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// serveSink is the sink itself. It runs until it is ended.
func serveSink(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := swallow(conn); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "sink:", err)
			}
		}()
	}
}

// swallow is one session: it says yes to everything.
func swallow(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, 32<<10)
	answers := []byte("220 sink\r\n")
	for {
		if r.Buffered() == 0 && len(answers) > 0 {
			if _, err := conn.Write(answers); err != nil {
				return err
			}
			answers = answers[:0]
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch line[0] {
		case 'E':
			answers = append(answers, "250-sink\r\n250 PIPELINING\r\n"...)
		case 'D':
			answers = append(answers, "354 go on\r\n"...)
			if _, err := conn.Write(answers); err != nil {
				return err
			}
			if err := skipMessage(r); err != nil {
				return err
			}
			answers = append(answers[:0], "250 gone\r\n"...)
		case 'Q':
			_, err := conn.Write(append(answers, "221 bye\r\n"...))
			return err
		default:
			answers = append(answers, "250 yes\r\n"...)
		}
	}
}

// skipMessage reads up to the line with the dot.
func skipMessage(r *bufio.Reader) error {
	for whole := true; ; {
		line, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if whole && len(line) == 3 && line[0] == '.' {
			return nil
		}
		whole = err == nil
	}
}
