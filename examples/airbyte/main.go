// Command airbyte is an Airbyte source: it speaks the Airbyte protocol on
// standard output, one JSON message a line, and reads AWS CloudTrail with the
// cloudtrail library.
//
//	airbyte spec
//	airbyte check    --config config.json
//	airbyte discover --config config.json
//	airbyte read     --config config.json --catalog catalog.json [--state state.json]
//
// The protocol is described at
// https://docs.airbyte.com/understanding-airbyte/airbyte-protocol
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cloudtrail-connector/cloudtrail"
)

// What the platform goes by besides the messages: 0 is success, and also a
// check that found the settings wrong, for then the command itself worked.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage: airbyte spec
       airbyte check    --config FILE
       airbyte discover --config FILE
       airbyte read     --config FILE --catalog FILE [--state FILE]
`

func main() {
	// The platform stops a source with SIGTERM: the sync then ends with a STATE.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// files are the flags of the commands.
type files struct{ config, catalog, state string }

// run executes one command and returns the exit code. The options go to the
// library besides the source's own: a test's fake, say.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, opts ...cloudtrail.Option) int {
	command, in, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	out := &output{w: stdout}
	if err != nil {
		out.errors([]failure{{kind: systemError, message: err.Error()}})
		return exitUsage
	}

	failed := failures(execute(ctx, command, in, out, opts))
	out.errors(failed)
	if command == "check" {
		out.connection(failed)
		failed = slices.DeleteFunc(failed, func(f failure) bool { return f.kind == configError })
	}
	if err := out.broken(); err != nil { // nobody to tell on standard output
		fmt.Fprintln(stderr, "airbyte:", err)
		return exitFailed
	}
	if len(failed) > 0 {
		return exitFailed
	}
	return exitOK
}

// parse reads the command line. Its error has been explained on stderr.
func parse(args []string, stderr io.Writer) (command string, in files, err error) {
	flags := flag.NewFlagSet("airbyte", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	required := map[string]*string{}
	switch command {
	case "read":
		flags.StringVar(&in.catalog, "catalog", "", "")
		flags.StringVar(&in.state, "state", "", "")
		required["catalog"] = &in.catalog
		fallthrough
	case "check", "discover":
		flags.StringVar(&in.config, "config", "", "")
		required["config"] = &in.config
	}
	if err := flags.Parse(args); err != nil {
		return "", in, err
	}
	reason := ""
	switch {
	case !slices.Contains([]string{"spec", "check", "discover", "read"}, command):
		reason = "want one of the commands spec, check, discover and read"
	case flags.NArg() > 0:
		reason = command + ": unexpected argument " + strconv.Quote(flags.Arg(0))
	}
	for name, value := range required {
		if *value == "" {
			reason = command + ": --" + name + " is missing"
		}
	}
	if reason != "" {
		flags.Usage()
		return "", in, errors.New(reason)
	}
	return command, in, nil
}

// execute runs one command.
func execute(ctx context.Context, command string, in files, out *output, opts []cloudtrail.Option) error {
	if command == "spec" {
		return out.emit(message{Type: "SPEC", Spec: specification})
	}
	settings, err := loadSettings(in.config)
	if err != nil {
		return err
	}
	if command == "discover" { // the stream is the same whatever AWS says
		return out.emit(message{Type: "CATALOG", Catalog: catalog()})
	}
	opts = append([]cloudtrail.Option{cloudtrail.WithLogger(slog.New(newLogHandler(out)))}, opts...)
	if command == "check" {
		connector, err := cloudtrail.New(ctx, settings.config, opts...)
		if err != nil {
			return err
		}
		return connector.Test(ctx)
	}
	return read(ctx, settings, in, out, opts)
}
