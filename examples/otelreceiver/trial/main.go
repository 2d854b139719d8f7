// Command trial builds a Collector with the receiver and runs it, with the
// configuration of README.md, against a fake CloudTrail and an OTLP sink on
// loopback. It needs no AWS account.
//
//	go run ./trial        # prints every log record that arrives, until interrupted
//	go run ./trial -kill  # kills and cuts off the Collector, and checks that nothing is lost
//
// Run it in the receiver's folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func main() {
	kill := flag.Bool("kill", false, "kill the Collector and stop the sink again and again, and check what arrived")
	binary := flag.String("collector", "", "a Collector that is built already")
	flag.Parse()
	// SIGPIPE: "| head" must not leave the Collector behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, *kill, *binary); err != nil {
		fmt.Fprintln(os.Stderr, "trial:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, kill bool, binary string) error {
	dir, err := os.MkdirTemp("", "cloudtrail-trial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary == "" {
		fmt.Println("building a Collector, which takes a minute or two the first time")
		if binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	events, ids := history()
	address, closeFake, err := serve(events)
	if err != nil {
		return err
	}
	defer closeFake()
	s, err := newSink()
	if err != nil {
		return err
	}
	defer s.stop()
	c := &collector{binary: binary, env: append(os.Environ(),
		"STATE_DIRECTORY="+filepath.Join(dir, "state"),
		"OTLP_ENDPOINT=http://"+s.address,
		"AWS_ENDPOINT_URL=http://"+address,
		"AWS_ACCESS_KEY_ID="+cloudtrailtest.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY="+cloudtrailtest.SecretAccessKey,
		"AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
	)}
	defer c.kill()
	if kill {
		return killing(ctx, c, s, ids)
	}
	s.print = true
	if err := c.start("collector.yaml", filepath.Join("trial", "trial.yaml")); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-c.exited:
	}
	return c.terminate()
}

// build makes the Collector of builder.yaml in dir and returns its path. There
// the paths, which are relative to the receiver's folder, are absolute.
func build(ctx context.Context, dir string) (string, error) {
	config, err := os.ReadFile("builder.yaml")
	if err != nil {
		return "", err
	}
	library, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return "", err
	}
	output := filepath.Join(dir, "build")
	absolute := strings.NewReplacer("output_path: build", "output_path: "+output, "=> ../../..", "=> "+library).Replace(string(config))
	file := filepath.Join(dir, "builder.yaml")
	if err := os.WriteFile(file, []byte(absolute), 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "go.opentelemetry.io/collector/cmd/builder@v0.164.0", "--skip-strict-versioning", "--config", file)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the builder: %w\n%s", err, text)
	}
	return filepath.Join(output, "otelcol-cloudtrail"), nil
}

// perRegion events are in each of the two Regions of collector.yaml, none so
// young that CloudTrail might still deliver one before it.
const perRegion = 1000

func history() (map[string]cloudtrailtest.History, map[string]bool) {
	now, ids := time.Now(), map[string]bool{}
	histories := map[string]cloudtrailtest.History{}
	for seed, region := range []string{"us-east-1", "eu-central-1"} {
		histories[region] = cloudtrailtest.Uniform(uint64(seed), perRegion, now.AddDate(0, 0, -3), now.Add(-time.Hour))
		for i := range perRegion {
			ids[cloudtrailtest.EventID(uint64(seed), i)] = true
		}
	}
	return histories, ids
}

// serve starts the fake, with AWS's own quota: 2 requests per second and Region.
func serve(histories map[string]cloudtrailtest.History) (address string, stop func(), err error) {
	fake := cloudtrailtest.New()
	for region, h := range histories {
		fake.Account(cloudtrailtest.AccountID).Region(region).SetHistory(h)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: fake, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // ends with stop
	return listener.Addr().String(), func() { _ = server.Close() }, nil
}
