package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"postrider/internal/auth"
	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

// maxInput bounds a file that is sent as content, in bytes.
const maxInput = 64 << 20

// input reads a file named on the command line, "-" being standard input.
func (c *call) input(name string) ([]byte, error) {
	r := c.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, unreadable(name, err)
		}
		defer f.Close()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil && name != "-":
		return nil, unreadable(name, err)
	case len(data) > maxInput:
		return nil, mail.Errorf(mail.Invalid,
			fmt.Sprintf("%s is larger than %s", name, terminal.Size(maxInput)))
	}
	return data, err
}

// unreadable says what the system has against reading a file.
func unreadable(name string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return &mail.Error{Kind: mail.Invalid, Err: err,
		Text: "cannot read the file " + control.Short(name)}
}

// fileName is an argument that names a file, as messages name it.
func (c *call) fileName(i int) string {
	if name := c.line.Arg(i); name != "-" {
		return name
	}
	return "standard input"
}

// password takes a new password as the flags say: from a file, or asked on a
// terminal. Empty means that one is to be made.
func (c *call) password(ctx context.Context) (string, error) {
	switch {
	case c.opt.generate && c.line.Given["password-file"]:
		return "", c.usage("--generate and --password-file exclude each other")
	case c.opt.generate:
		return "", nil
	case c.line.Given["password-file"]:
		data, err := c.input(c.opt.passwordFile)
		if err != nil {
			return "", err
		}
		line, _, _ := bytes.Cut(data, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return "", mail.Errorf(mail.Invalid, "the first line of the password file is empty")
		}
		return string(line), auth.CheckPassword(string(line))
	case c.Interactive():
		return c.askPassword(ctx)
	}
	return "", nil
}

func (c *call) askPassword(ctx context.Context) (string, error) {
	first, err := c.Secret(ctx, "New password (empty: one is made): ")
	if err != nil || first == "" {
		return "", err
	}
	again, err := c.Secret(ctx, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", mail.Errorf(mail.Invalid, "the two passwords differ; nothing was changed")
	}
	return first, auth.CheckPassword(first)
}

// sure asks before something that cannot be taken back. Where nobody can be
// asked, --yes is needed.
func (c *call) sure(question string) error {
	if c.opt.yes {
		return nil
	}
	if !c.Interactive() {
		return c.usage("%s: nobody can be asked here; say --yes if it is meant", c.line.Command.Name)
	}
	yes, err := c.Confirm(question)
	if err == nil && !yes {
		err = mail.Errorf(mail.Conflict, "nothing was changed")
	}
	return err
}
