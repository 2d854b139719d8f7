package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// collector is a Collector's process, and what the ones before it wrote.
type collector struct {
	binary string
	env    []string
	log    output

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	err    error         // how; read it after exited
}

func (c *collector) start(configs ...string) error {
	var args []string
	for _, config := range configs {
		args = append(args, "--config", config)
	}
	cmd := exec.Command(c.binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &c.log, &c.log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	c.cmd, c.exited = cmd, exited
	go func() {
		c.err = cmd.Wait()
		close(exited)
	}()
	return nil
}

// kill sends SIGKILL, which leaves the process no time for anything.
func (c *collector) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill() // it may have ended already
		<-c.exited
	}
}

// terminate sends SIGTERM and returns an error unless the Collector ends in good
// order. After Ctrl-C, which a terminal sends to both, it may have ended before.
func (c *collector) terminate() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.exited
	if c.err != nil {
		return c.problem(c.err)
	}
	return nil
}

// problem adds the end of the Collector's log to err.
func (c *collector) problem(err error) error {
	lines := strings.Split(strings.TrimSpace(c.log.String()), "\n")
	return fmt.Errorf("the Collector: %w; its last words:\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

// output is a buffer that is written and read at the same time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
