package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/windows/svc"

	"postrider/internal/service"
)

// asService runs the program under the service manager of Windows if that
// has started it; ok is false otherwise.
func asService(ctx context.Context, args []string) (status int, ok bool) {
	if under, err := svc.IsWindowsService(); err != nil || !under {
		return 0, false
	}
	s := &windowsService{ctx: ctx, args: args}
	if err := svc.Run(service.Name, s); err != nil {
		return exitFailed, true
	}
	return s.status, true
}

// underManager says whether a service manager has started this process.
func underManager() bool {
	under, err := svc.IsWindowsService()
	return err == nil && under
}

// A windowsService answers the service manager while the program runs.
type windowsService struct {
	ctx    context.Context
	args   []string
	status int
}

// stopHint is how long the manager may wait before it thinks that the
// program hangs, in milliseconds: messages under way have server.stop_time.
const stopHint = 40_000

// Execute implements svc.Handler.
func (s *windowsService) Execute(_ []string, requests <-chan svc.ChangeRequest,
	states chan<- svc.Status) (specific bool, code uint32) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- run(ctx, s.args, os.Stdin, io.Discard, io.Discard) }()
	running := svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	states <- running
	for {
		select {
		case s.status = <-done:
			return true, uint32(s.status)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				states <- running
			case svc.Stop, svc.Shutdown:
				running = svc.Status{State: svc.StopPending, WaitHint: stopHint}
				states <- running
				cancel()
			}
		}
	}
}
