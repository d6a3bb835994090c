package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

func record(at, rest string) string { return at + "T00:00:00.000Z " + rest + "\n" }

func TestReadLast(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"2026-11-19.log": record("2026-11-19", "1 smtp a") + record("2026-11-19", "5 pop b"),
		"2026-11-20.log": "{\"level\":2,\"component\":\"smtp\",\"text\":\"c\"}\nno record\n",
		"2026-11-21.log": record("2026-11-21", "3 smtp d") + record("2026-11-21", "4 smtp e") +
			"2026-11-21T00:00:00.000Z 1 smtp half",
		"other.txt": "x\n",
	} {
		os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)
	}
	for name, c := range map[string]struct {
		o    ReadOptions
		want string
	}{
		"none":               {ReadOptions{}, ""},
		"one":                {ReadOptions{Last: 1}, "e"},
		"two":                {ReadOptions{Last: 2}, "de"},
		"over two files":     {ReadOptions{Last: 3}, "rde"},
		"over three files":   {ReadOptions{Last: 5}, "bcrde"},
		"more than there is": {ReadOptions{Last: 100}, "abcrde"},
		"all":                {ReadOptions{Last: -1}, "abcrde"},
		"level":              {ReadOptions{Last: -1, Level: 2}, "acr"},
		"component":          {ReadOptions{Last: -1, Component: "pop"}, "br"},
		"last of level":      {ReadOptions{Last: 2, Level: 1, Component: "smtp"}, "ar"},
	} {
		got := ""
		err := Follow(t.Context(), dir, c.o, func(line []byte) error {
			s := strings.TrimSuffix(string(line), `"}`)
			if s == "no record" {
				s = "r"
			}
			got += s[len(s)-1:]
			return nil
		})
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v want %q", name, got, err, c.want)
		}
	}
	stop := errors.New("stop")
	err := Follow(t.Context(), dir, ReadOptions{Last: -1}, func([]byte) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("got %v want the error of fn", err)
	}
	for _, empty := range []string{t.TempDir(), filepath.Join(dir, "none")} {
		err := Follow(t.Context(), empty, ReadOptions{Last: 1}, nil)
		if mail.KindOf(err) != mail.NotFound {
			t.Errorf("%s: got %v want NotFound", empty, err)
		}
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "log")
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		var err error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			err = Follow(ctx, dir, ReadOptions{Last: 10, Follow: true}, func(l []byte) error {
				got = append(got, string(l))
				return nil
			})
		}()
		write := func(name, text string) {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(text)
			f.Close()
			time.Sleep(2 * pollDelay)
			synctest.Wait()
		}
		time.Sleep(time.Second) // there is no directory yet
		os.Mkdir(dir, 0o700)
		write("2026-11-20.log", "a\nb")
		write("2026-11-20.log", "c\nd\n")
		write("2026-11-21.log", "")
		write("2026-11-21.log", "e\n")
		write("2026-11-23.log", "f\n")
		write("2026-11-22.log", "late\n")
		write("2026-11-23.log", strings.Repeat("x", 1<<20)+"\ng\n")
		cancel()
		<-ended
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		long := ""
		for i, l := range got {
			if len(l) > 100 {
				long, got[i] = l, "long"
			}
		}
		if diff := cmp.Diff([]string{"a", "bc", "d", "e", "f", "long", "g"}, got); diff != "" {
			t.Error(diff)
		}
		if len(long) > 4*maxRecord {
			t.Errorf("a line of %d bytes was kept", len(long))
		}
	})
}

// TestFollowAfterLast goes on exactly where the last records ended.
func TestFollowAfterLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "2026-11-20.log"), []byte("a\nb\n"), 0o600)
		today := filepath.Join(dir, "2026-11-21.log")
		for _, last := range []int{0, 1, 2} {
			os.WriteFile(today, []byte("c\nhal"), 0o600)
			ctx, cancel := context.WithCancel(t.Context())
			got := ""
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				Follow(ctx, dir, ReadOptions{Last: last, Follow: true}, func(l []byte) error {
					got += string(l) + " "
					return nil
				})
			}()
			synctest.Wait()
			f, _ := os.OpenFile(today, os.O_APPEND|os.O_WRONLY, 0o600)
			f.WriteString("f\nd\n")
			f.Close()
			time.Sleep(2 * pollDelay)
			synctest.Wait()
			cancel()
			<-ended
			want := []string{"f d ", "c half d ", "b c half d "}[last]
			if got != want {
				t.Errorf("last %d: got %q want %q", last, got, want)
			}
		}
	})
}
