// Command sync reads the CloudTrail event history of AWS accounts and writes
// it as Cloud Resource records, one JSON object a line:
//
//	go run ./sync -demo
//	go run ./sync -regions us-east-1,eu-central-1 -out events.jsonl -state events.state
//
// The second form, repeated, goes on where the run before it stopped, however
// that one stopped. Credentials come from the AWS default chain.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// Exit codes.
const (
	exitDone   = 0 // everything was read
	exitFailed = 1 // something failed; what could be read was written
	exitUsage  = 2 // flags, settings or the token don't make sense
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "%s\nSee -help.\n", explain(err))
		return exitUsage
	}
	err = s.run(ctx, stdout, stderr)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errSaid):
		return exitFailed
	}
	fmt.Fprintln(stderr, explain(err))
	if _, ok := errors.AsType[*cloudtrail.ConfigError](err); ok || errors.Is(err, cloudtrail.ErrInvalidToken) {
		return exitUsage
	}
	return exitFailed
}

// errSaid is a failure that standard error already has in full.
var errSaid = errors.New("already reported")

func (s settings) run(ctx context.Context, stdout, stderr io.Writer) error {
	began := time.Now()
	var d *demo
	if s.demo {
		d = newDemo(began)
		s = d.settings(s)
	}
	m := newMonitor(stdout, stderr, s)
	opts := []cloudtrail.Option{cloudtrail.WithObserver(m.observer()), cloudtrail.WithLogger(m.logger())}
	if s.raw {
		opts = append(opts, cloudtrail.WithRawEvents())
	}
	if d != nil {
		opts = append(opts, cloudtrail.WithAWSConfig(d.fake.AWSConfig(demoRegion)))
	}
	connector, err := cloudtrail.New(ctx, s.config, opts...)
	if err != nil {
		return err
	}
	partitions, err := connector.Partitions(ctx)
	if err != nil {
		return err
	}
	if d != nil {
		partitions = d.choose(partitions)
		s.options.Partitions = partitions
	}
	if s.test {
		return test(ctx, connector, stderr, s.quiet)
	}

	store, err := openStore(s, stdout, m.note)
	if err != nil {
		return err
	}
	defer store.close()
	if !store.token.IsZero() {
		s.options.Since = store.token
	}
	var chart *activity
	if s.plot != "" {
		if err := probe(s.plot); err != nil {
			return fmt.Errorf("-plot: %w", err)
		}
		chart = newActivity()
	}

	m.start(partitions)
	res, err := connector.Sync(ctx, s.options, func(_ context.Context, page cloudtrail.Page) error {
		if chart != nil {
			chart.add(page)
		}
		return m.records(func() error { return store.page(page) })
	})
	m.stop()
	if !store.token.IsZero() && errors.Is(err, cloudtrail.ErrInvalidToken) {
		err = fmt.Errorf("-state: %s: %w: give the -filter that it was made with, or name another file", s.state, err)
	}

	sum := summary{settings: s, result: res, err: err, took: time.Since(began), store: store}
	sum.failed(store.save(res.Token))
	switch {
	case chart != nil && res.Records > 0:
		sum.failed(chart.save(s.plot, s.options, began))
	case chart != nil && err == nil:
		m.note("No events, so no picture: " + s.plot + " is left as it is.")
	}
	return sum.print(ctx, stderr, m.width())
}

// test checks credentials and permission.
func test(ctx context.Context, c *cloudtrail.Connector, stderr io.Writer, quiet bool) error {
	err := c.Test(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped before everything was checked")
		}
		return err
	}
	if !quiet {
		fmt.Fprintln(stderr, "Credentials and permission are good: every Region that was asked for, and is enabled, can be read.")
	}
	return nil
}
