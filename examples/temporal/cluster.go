package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
)

// cluster is everything that a deployment has, on this machine: a fake AWS and
// the store in this process, Temporal and the workers in processes of their own.
type cluster struct {
	dir      string
	aws      *fakeAWS
	store    *watchedStore
	client   client.Client
	temporal *process
	workers  []*process

	program     []string // this binary
	address     string   // Temporal's
	workerFlags []string
	awsURL      string
	storeURL    string
	servers     []*http.Server
}

// clusterOptions say how large a cluster is.
type clusterOptions struct {
	Dir         string // for logs, Temporal's database and the workers' settings
	Program     []string
	AWS         fakeOptions
	Workers     int
	WorkerFlags []string
	Settings    map[string]string // the library's, besides the Regions and roles
	Temporal    string
}

// startCluster returns a cluster that is up. stop must be called, also after an
// error.
func startCluster(ctx context.Context, o clusterOptions) (c *cluster, err error) {
	c = &cluster{
		dir: o.Dir, program: o.Program, workerFlags: o.WorkerFlags,
		aws: newFakeAWS(o.AWS), store: newWatchedStore(),
	}
	if c.awsURL, err = c.serve(c.aws.fake); err != nil {
		return c, err
	}
	if c.storeURL, err = c.serve(storeHandler(c.store)); err != nil {
		return c, err
	}
	settings := c.aws.settings()
	for k, v := range o.Settings {
		settings[k] = v
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return c, err
	}
	if err := os.WriteFile(filepath.Join(c.dir, "settings.json"), text, 0o600); err != nil {
		return c, err
	}
	if c.address, err = freeAddress(); err != nil {
		return c, err
	}
	if err := c.startTemporal(ctx, o.Temporal); err != nil {
		return c, err
	}
	for i := range o.Workers {
		c.workers = append(c.workers, nil)
		if err := c.startWorker(i); err != nil {
			return c, err
		}
	}
	return c, nil
}

// stop ends every process and server of the cluster.
func (c *cluster) stop() {
	if c.client != nil {
		c.client.Close()
	}
	for _, p := range append(c.workers, c.temporal) {
		if p != nil {
			p.kill()
		}
	}
	for _, s := range c.servers {
		_ = s.Close()
	}
}

func (c *cluster) serve(h http.Handler) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	c.servers = append(c.servers, server)
	go server.Serve(listener) // ends in stop
	return "http://" + listener.Addr().String(), nil
}

// startTemporal starts the server, the first time or with the state that it had
// when it was killed, and waits until it answers.
func (c *cluster) startTemporal(ctx context.Context, binary string) error {
	host, port, err := net.SplitHostPort(c.address)
	if err != nil {
		return err
	}
	c.temporal, err = startProcess(filepath.Join(c.dir, "temporal.log"), nil, binary, "server", "start-dev",
		"--headless", "--ip", host, "--port", port, "--log-level", "error",
		"--db-filename", filepath.Join(c.dir, "temporal.db"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := c.reachTemporal(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.temporal.exited:
			return fmt.Errorf("the Temporal server stopped: %s", c.temporal.tail())
		case <-ctx.Done():
			return fmt.Errorf("the Temporal server doesn't answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *cluster) reachTemporal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if c.client == nil {
		connected, err := client.DialContext(ctx, client.Options{HostPort: c.address, Logger: quiet{}})
		if err != nil {
			return err
		}
		c.client = connected
	}
	// The namespace is there a little later than the server.
	_, err := c.client.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 1})
	return err
}

// startWorker starts worker i, the first time or again.
func (c *cluster) startWorker(i int) (err error) {
	name := fmt.Sprintf("worker-%d", i+1)
	args := append([]string{"worker", "-name", name, "-store", c.storeURL,
		"-settings", filepath.Join(c.dir, "settings.json")}, c.workerFlags...)
	env := append(c.aws.env(c.awsURL), "TEMPORAL_ADDRESS="+c.address, "TEMPORAL_CONFIG_FILE="+os.DevNull)
	args = append(c.program[1:len(c.program):len(c.program)], args...)
	c.workers[i], err = startProcess(filepath.Join(c.dir, name+".log"), env, c.program[0], args...)
	return err
}

// process is a program that runs beside this one.
type process struct {
	*exec.Cmd
	exited chan struct{}
	log    string
}

// startProcess starts a program with its output in a file. It gets env and,
// from this process, what isn't about AWS or Temporal.
func startProcess(logFile string, env []string, name string, args ...string) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the program has it
	p := &process{Cmd: exec.Command(name, args...), exited: make(chan struct{}), log: logFile}
	p.Stdout, p.Stderr = out, out
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "TEMPORAL_") {
			p.Env = append(p.Env, v)
		}
	}
	p.Env = append(p.Env, env...)
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait() // ProcessState tells
	}()
	return p, nil
}

// kill ends the process as a power cut would and waits until it is gone.
func (p *process) kill() {
	_ = p.Process.Kill() // fails if it is gone already
	<-p.exited
}

// cpu is the processor time that an ended process used.
func (p *process) cpu() time.Duration {
	return p.ProcessState.UserTime() + p.ProcessState.SystemTime()
}

// tail returns the end of the process's output.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// quiet is a Temporal logger that logs nothing: a server that was killed on
// purpose is no news.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// temporalVersion is the newest one that builds through the module proxy.
const temporalVersion = "v1.5.1"

// temporalBinary returns Temporal's own command line, which has the server: the
// one that TEMPORAL_CLI or PATH names, else one in the user's cache folder,
// which is built there the first time.
func temporalBinary(ctx context.Context, say func(format string, args ...any)) (string, error) {
	if path := os.Getenv("TEMPORAL_CLI"); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("temporal"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "cloudtrail-temporal-"+temporalVersion)
	path := filepath.Join(dir, "temporal")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	say("building the Temporal server %s, once; some minutes", temporalVersion)
	build := exec.CommandContext(ctx, "go", "install", "github.com/temporalio/cli/cmd/temporal@"+temporalVersion)
	build.Dir = os.TempDir() // no module
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
}
