package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// secrets must be in no output at all; every one of them is checked.
var secrets = []string{
	cloudtrailtest.SecretAccessKey, "wrong-secret-of-the-user", "session-token-of-the-user", "external-id-of-the-user",
}

// newFake returns a fake whose quota is no limit.
func newFake(regions ...string) *cloudtrailtest.Fake {
	fake := cloudtrailtest.New()
	for _, name := range regions {
		fake.Account(cloudtrailtest.AccountID).Region(name).SetQuota(cloudtrailtest.Quota{Rate: math.Inf(1)})
	}
	return fake
}

// addEvents gives the Region n events in the last five days and returns their
// ids, which are the records' UIDs.
func addEvents(fake *cloudtrailtest.Fake, region string, seed uint64, n int) []string {
	now := time.Now()
	fake.Account(cloudtrailtest.AccountID).Region(region).SetHistory(
		cloudtrailtest.WithEventSize(cloudtrailtest.Uniform(seed, n, now.Add(-5*24*time.Hour), now.Add(-time.Hour)), 0))
	ids := make([]string, n)
	for i := range ids {
		ids[i] = cloudtrailtest.EventID(seed, i)
	}
	return ids
}

// config is a configuration for the fake's own account.
func config(more map[string]any) map[string]any {
	c := map[string]any{
		"accessKeyId":     cloudtrailtest.AccessKeyID,
		"secretAccessKey": cloudtrailtest.SecretAccessKey,
		"regions":         []string{"us-east-1", "eu-west-1"},
	}
	for k, v := range more {
		c[k] = v
	}
	return c
}

func write(t *testing.T, v any) string {
	t.Helper()
	data, ok := v.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "in.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// configured is the catalog that a platform would make of ours.
func configured(mode string) any {
	return map[string]any{"streams": []any{map[string]any{
		"stream": catalog().Streams[0], "sync_mode": mode, "cursor_field": []string{"EVENT_TIME"},
		"destination_sync_mode": "append_dedup", "primary_key": [][]string{{"UID"}},
	}}}
}

// line is one message, as the platform would see it.
type line struct {
	message
	State *struct {
		Type   string
		Stream struct {
			Descriptor streamDescriptor `json:"stream_descriptor"`
			State      streamState      `json:"stream_state"`
		}
		SourceStats struct{ RecordCount json.Number }
	} `json:"state"`
	text string
}

type lines []line

// drive runs a command in process.
func drive(t *testing.T, ctx context.Context, fake *cloudtrailtest.Fake, args ...string) (int, lines) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	opts := []cloudtrail.Option{cloudtrail.WithLookupRate(math.Inf(1))}
	if fake != nil {
		opts = append(opts, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")))
	}
	exit := run(ctx, args, &stdout, &stderr, opts...)
	return exit, parseLines(t, stdout.String(), stderr.String())
}

func parseLines(t *testing.T, stdout, stderr string) lines {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(stdout+stderr, secret) {
			t.Errorf("the output has the secret %q", secret)
		}
	}
	var all lines
	for text := range strings.Lines(stdout) {
		l := line{text: text}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		var payload map[string]any
		if err := json.Unmarshal([]byte(text), &payload); err != nil {
			t.Fatal(err)
		}
		if len(payload) != 2 {
			t.Errorf("not one payload: %s", text)
		}
		all = append(all, l)
	}
	return all
}

// readAll runs read and checks what holds for the output of every read.
func readAll(t *testing.T, fake *cloudtrailtest.Fake, config, catalog any, state []byte) (int, lines) {
	t.Helper()
	args := []string{"read", "--config", write(t, config), "--catalog", write(t, catalog)}
	if state != nil {
		args = append(args, "--state", write(t, state))
	}
	exit, out := drive(t, t.Context(), fake, args...)
	checkRead(t, out)
	return exit, out
}

func checkRead(t *testing.T, out lines) {
	t.Helper()
	var statuses []string
	pending := 0
	for _, l := range out {
		switch {
		case l.Record != nil:
			pending++
			if len(statuses) == 0 || statuses[len(statuses)-1] != "RUNNING" {
				t.Fatalf("a record after the statuses %q", statuses)
			}
		case l.State != nil:
			if want := json.Number(fmt.Sprintf("%d.0", pending)); l.State.SourceStats.RecordCount != want {
				t.Errorf("recordCount %s, want %s", l.State.SourceStats.RecordCount, want)
			}
			if l.State.Type != "STREAM" || l.State.Stream.Descriptor.Name != streamName || l.State.Stream.State.Token.IsZero() {
				t.Errorf("bad state: %s", l.text)
			}
			pending = 0
		case l.Trace != nil && l.Trace.StreamStatus != nil:
			statuses = append(statuses, l.Trace.StreamStatus.Status)
		}
	}
	if pending > 0 {
		t.Errorf("%d records after the last STATE", pending)
	}
	switch got := strings.Join(statuses, " "); got {
	case "", "STARTED COMPLETE", "STARTED INCOMPLETE", "STARTED RUNNING COMPLETE", "STARTED RUNNING INCOMPLETE":
	default:
		t.Errorf("statuses: %s", got)
	}
}

// lastState returns the last STATE's stream state in the platform's form, nil
// if there is none.
func (ls lines) lastState(t *testing.T) []byte {
	t.Helper()
	for i := len(ls) - 1; i >= 0; i-- {
		if ls[i].State != nil {
			return []byte(`[` + string(stateOf(t, ls[i])) + `]`)
		}
	}
	return nil
}

func stateOf(t *testing.T, l line) json.RawMessage {
	t.Helper()
	var m struct{ State json.RawMessage }
	if err := json.Unmarshal([]byte(l.text), &m); err != nil {
		t.Fatal(err)
	}
	return m.State
}

func (ls lines) uids() map[string]int {
	found := map[string]int{}
	for _, l := range ls {
		if l.Record != nil {
			found[l.Record.Data.UID]++
		}
	}
	return found
}

func (ls lines) traced() []errorTrace {
	var errs []errorTrace
	for _, l := range ls {
		if l.Trace != nil && l.Trace.Error != nil {
			errs = append(errs, *l.Trace.Error)
		}
	}
	return errs
}

func (ls lines) terminal() string {
	status := ""
	for _, l := range ls {
		if l.Trace != nil && l.Trace.StreamStatus != nil {
			status = l.Trace.StreamStatus.Status
		}
	}
	return status
}

// wantExactly checks that uids has each id and nothing else.
func wantExactly(t *testing.T, uids map[string]int, ids ...[]string) {
	t.Helper()
	n := 0
	for _, list := range ids {
		n += len(list)
		for _, id := range list {
			if uids[id] == 0 {
				t.Fatalf("event %s is missing, of %d; there are %d", id, len(list), len(uids))
			}
		}
	}
	if len(uids) != n {
		t.Errorf("%d different events, want %d", len(uids), n)
	}
}

var _ io.Writer = brokenPipe{}

// brokenPipe is an output that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
