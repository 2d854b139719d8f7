// Command fake serves a fake CloudTrail and STS on loopback until it is
// interrupted, for the AWS CLI and any SDK:
//
//	go run ./fake >env & until grep -q '^# ready' env; do sleep 0.1; done
//	set -a; . ./env; set +a
//	aws cloudtrail lookup-events --max-items 3
//
// It prints shell assignments for the clients' environment and then, as
// comments, the accounts, roles and Regions that it knows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	addr    string
	events  string
	latency time.Duration
	rate    float64
}

// run serves until ctx ends and returns the exit code: 2 for what is wrong
// with the arguments, 1 for what goes wrong later.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // the flag package has said it
	}
	if err := serve(ctx, s, stdout); err != nil {
		fmt.Fprintln(stderr, "fake:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("fake", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.addr, "addr", "127.0.0.1:0", "`address` to serve on; port 0 is any free one")
	flags.StringVar(&s.events, "events", "", "`file` of events, as aws cloudtrail lookup-events --output json prints them, spread over the last 7 days; without it they are made up")
	flags.DurationVar(&s.latency, "latency", 200*time.Millisecond, "how long a lookup takes")
	flags.Float64Var(&s.rate, "rate", 2, "lookups a second that each account and Region allows")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.latency < 0:
		err = fmt.Errorf("-latency %s: must not be negative", s.latency)
	case math.IsNaN(s.rate) || s.rate <= 0:
		err = fmt.Errorf("-rate %v: must be above 0", s.rate)
	}
	if err != nil {
		fmt.Fprintln(stderr, "fake:", err)
		flags.Usage()
	}
	return s, err
}

func serve(ctx context.Context, s settings, stdout io.Writer) error {
	w, err := newWorld(s, time.Now())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := w.describe(stdout, "http://"+listener.Addr().String()); err != nil {
		return err
	}

	server := &http.Server{Handler: w.fake, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
