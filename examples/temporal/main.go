// Command cloudtrail-temporal syncs thousands of CloudTrail partitions on several machines,
// with leases, a schedule and history by Temporal:
//
//	cloudtrail-temporal worker   reads partitions; run several
//	cloudtrail-temporal start    starts a sync, or the schedule that does
//	cloudtrail-temporal status   says what is being read, and how the last syncs went
//	cloudtrail-temporal store    the demo's store, for workers that are started by hand
//	cloudtrail-temporal demo     all of it on this machine, against a fake AWS
//
// Temporal's address, namespace, TLS and API key come from the environment and
// the configuration file that its own command line reads too: TEMPORAL_ADDRESS,
// TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, …
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"
)

var commands = map[string]func(ctx context.Context, args []string) error{
	"worker": runWorker,
	"start":  runStart,
	"status": runStatus,
	"store":  runStore,
	"demo":   runDemo,
}

const usage = "usage: cloudtrail-temporal worker|start|status|store|demo [flags]; -help after one of them lists its flags"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var run func(context.Context, []string) error
	if len(os.Args) > 1 {
		run = commands[os.Args[1]]
	}
	if run == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	switch err := run(ctx, os.Args[2:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// defaultTaskQueue is where workflows and activities wait for a worker.
const defaultTaskQueue = "cloudtrail"

// logger logs warnings, and with -v everything, to standard error.
func logger(verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// dial connects to the Temporal that the environment names.
func dial(ctx context.Context, identity string, l *slog.Logger) (client.Client, error) {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, err
	}
	o.Identity = identity
	o.Logger = log.NewStructuredLogger(l)
	c, err := client.DialContext(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("no connection to Temporal (TEMPORAL_ADDRESS): %w", err)
	}
	return c, nil
}
