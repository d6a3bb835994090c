package control

import (
	"context"

	"postrider/internal/store"
)

// CheckRequest says whether what can be mended is mended.
type CheckRequest struct {
	Repair bool `json:"repair,omitempty"`
}

// A Problem is one thing that is not as it should be.
type Problem struct {
	What     string `json:"what"`
	Where    string `json:"where"`
	Repaired bool   `json:"repaired"`
}

// CheckReply lists what was found; Damaged counts what is still wrong.
type CheckReply struct {
	Problems []Problem `json:"problems"`
	Damaged  int       `json:"damaged"`
}

func (c *Control) check(ctx context.Context, q CheckRequest, p store.Progress) (CheckReply, error) {
	r := CheckReply{Problems: append([]Problem{}, c.problems...)}
	found, err := c.store.Check(ctx, q.Repair, p)
	for _, f := range found {
		r.Problems = append(r.Problems, Problem(f))
	}
	if err == nil && c.secrets != nil {
		var sealed []Problem
		sealed, err = c.lookAtSecrets(ctx, q.Repair)
		r.Problems = append(r.Problems, sealed...)
	}
	for _, f := range r.Problems {
		if !f.Repaired {
			r.Damaged++
		}
	}
	return r, err
}

func (c *Control) lookAtSecrets(ctx context.Context, repair bool) ([]Problem, error) {
	if repair { // it reads accounts and writes them
		c.write.Lock()
		defer c.write.Unlock()
	}
	return c.secrets(ctx, repair)
}
