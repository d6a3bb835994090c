package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Client runs operations in the process of a running server. It may be
// used concurrently.
type Client struct {
	// Dial connects to the control socket.
	Dial func(ctx context.Context) (net.Conn, error)
	// Token is shown there.
	Token string
}

// Call implements Caller.
func (c *Client) Call(ctx context.Context, name string, request, reply any,
	p store.Progress) error {
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	line, err := json.Marshal(call{Operation: name, Request: raw})
	if err != nil {
		return err
	}
	conn, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	// What fails here fails again below, where the server may have said why.
	conn.Write([]byte(c.Token + "\n"))
	conn.Write(append(line, '\n'))
	out, err := receive(bufio.NewReader(conn), p)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return json.Unmarshal(out, reply)
}

// receive reads the server's lines up to the reply or the error.
func receive(r *bufio.Reader, p store.Progress) (json.RawMessage, error) {
	for {
		line, err := readLine(r, maxRequest)
		if err != nil {
			return nil, &mail.Error{Kind: mail.Unreachable, Text: "the server hung up", Err: err}
		}
		var f frame
		if err := json.Unmarshal(line, &f); err != nil {
			return nil, &mail.Error{Kind: mail.Internal, Text: "the server's answer is no JSON", Err: err}
		}
		switch {
		case f.Error != nil:
			return nil, f.Error.err()
		case f.Reply != nil:
			return f.Reply, nil
		case f.Progress != nil:
			if p != nil {
				p(f.Progress.What, f.Progress.Done, f.Progress.Total)
			}
		default:
			return nil, errors.New("the server's answer is empty")
		}
	}
}
