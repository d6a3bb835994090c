package trial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"
)

// A Greeting is what "serve --json" prints when it is ready.
type Greeting struct {
	DataDirectory string `json:"data_directory"`
	Listeners     []struct {
		Service string `json:"service"`
		Address string `json:"address"`
	} `json:"listeners"`
	// Account and Password are those that the first run makes.
	Account  string `json:"account"`
	Password string `json:"password"`
}

// A Server is a running program.
type Server struct {
	Greeting // after Ready
	Cmd      *exec.Cmd
	Ended    <-chan struct{} // closed when the process has ended
	Stderr   *bytes.Buffer   // may be read after Ended

	hello chan error // what came of waiting for the greeting
}

// Serve is the command line of a server on the data directory dir.
func Serve(t *testing.T, dir string, flags ...string) []string {
	t.Helper()
	return append([]string{Program(t), "serve", "--json", "--data", dir}, flags...)
}

// Begin starts a command that is a server with --json, and does not wait for
// it. It is killed at the end of the test, if it still runs.
func Begin(t *testing.T, cmd *exec.Cmd) *Server {
	t.Helper()
	ended := make(chan struct{})
	s := &Server{Cmd: cmd, Ended: ended, Stderr: &bytes.Buffer{}, hello: make(chan error, 1)}
	cmd.Stderr = s.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := json.NewDecoder(stdout).Decode(&s.Greeting)
		if err != nil {
			err = fmt.Errorf("the greeting: %w", err)
		}
		s.hello <- err
		io.Copy(io.Discard, stdout)
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(s.Kill)
	return s
}

// Start is Begin, and waits until the server is ready.
func Start(t *testing.T, cmd *exec.Cmd) *Server {
	t.Helper()
	s := Begin(t, cmd)
	if err := s.Ready(); err != nil {
		s.Kill()
		t.Fatalf("the server does not start: %v\n%s", err, s.Stderr)
	}
	return s
}

// Ready waits until the server is ready. It is called once.
func (s *Server) Ready() error {
	select {
	case err := <-s.hello:
		return err
	case <-time.After(Patience):
		return errors.New("it says nothing")
	}
}

// Kill ends the server with SIGKILL, if it still runs.
func (s *Server) Kill() {
	s.Cmd.Process.Kill()
	<-s.Ended
}

// Gone says whether the server has ended.
func (s *Server) Gone() bool {
	select {
	case <-s.Ended:
		return true
	default:
		return false
	}
}

// Wait waits for the end of a server that was told to stop. It must be a good
// one.
func (s *Server) Wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.Ended:
	case <-time.After(Patience):
		s.Kill()
		t.Error("the server does not stop")
	}
	if status := s.Cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the server ended with status %d\n%s", status, s.Stderr)
	}
}

// Addresses are those on which a service listens.
func (s *Server) Addresses(service string) []string {
	var list []string
	for _, l := range s.Listeners {
		if l.Service == service {
			list = append(list, l.Address)
		}
	}
	return list
}

// Address is the first address of a service.
func (s *Server) Address(t *testing.T, service string) string {
	t.Helper()
	list := s.Addresses(service)
	if len(list) == 0 {
		t.Fatalf("nothing listens for %s: %+v", service, s.Listeners)
	}
	return list[0]
}
