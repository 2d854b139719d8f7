package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func TestRead(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	one, two := addEvents(fake, "us-east-1", 1, 1200), addEvents(fake, "eu-west-1", 2, 300)
	exit, out := readAll(t, fake, config(nil), configured(incremental), nil)
	if exit != exitOK || out.terminal() != "COMPLETE" || len(out.traced()) > 0 {
		t.Errorf("exit %d, %s, %v", exit, out.terminal(), out.traced())
	}
	wantExactly(t, out.uids(), one, two)
	for _, l := range out {
		if l.Record != nil && (l.Record.Stream != streamName || l.Record.EmittedAt == 0 || l.Record.Data.Region == "" || l.Record.Data.EventTime.IsZero()) {
			t.Fatalf("%s", l.text)
		}
	}

	// What came since is all that the next read brings.
	at := time.Now().Add(-time.Minute)
	fake.Account(cloudtrailtest.AccountID).Region("eu-west-1").Add(cloudtrailtest.Event{EventID: "new", EventName: "RunInstances", EventTime: at})
	state := out.lastState(t)
	exit, out = readAll(t, fake, config(nil), configured(incremental), state)
	if exit != exitOK || out.terminal() != "COMPLETE" {
		t.Errorf("exit %d, %s", exit, out.terminal())
	}
	wantExactly(t, out.uids(), []string{"new"})
}

// The source may be killed after any line. Whatever STATE was the last, what
// came before it and what the next read brings is everything.
func TestEveryStateResumes(t *testing.T) {
	for _, mode := range []string{incremental, fullRefresh} {
		t.Run(mode, func(t *testing.T) {
			fake := newFake("us-east-1", "eu-west-1")
			one, two := addEvents(fake, "us-east-1", 1, 2600), addEvents(fake, "eu-west-1", 2, 1700)
			_, out := readAll(t, fake, config(nil), configured(mode), nil)
			states := 0
			for i, l := range out {
				if l.State == nil {
					continue
				}
				states++
				before := out[:i+1]
				exit, after := readAll(t, fake, config(nil), configured(mode), before.lastState(t))
				if exit != exitOK {
					t.Fatalf("exit %d: %v", exit, after.traced())
				}
				again := len(after.uids())
				union := after.uids()
				maps.Copy(union, before.uids())
				wantExactly(t, union, one, two)
				// An instant that was cut in two is read again, and no more.
				if twice := len(before.uids()) + again - len(union); twice > 100 && !l.State.Stream.State.Complete {
					t.Errorf("%d of %d events are read twice", twice, len(union))
				}
			}
			if states < 4 {
				t.Errorf("only %d states for %d records", states, len(out.uids()))
			}
		})
	}
}

// However slowly records come, what a crash repeats is seconds of work.
func TestStateInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("us-east-1")
		ids := addEvents(fake, "us-east-1", 1, 150)
		in := files{config: write(t, config(map[string]any{"regions": "us-east-1"})), catalog: write(t, configured(incremental))}
		var stdout bytes.Buffer
		args := []string{"read", "--config", in.config, "--catalog", in.catalog}
		exit := run(t.Context(), args, &stdout, io.Discard, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")), cloudtrail.WithLookupRate(0.05))
		out := parseLines(t, stdout.String(), "")
		checkRead(t, out)
		wantExactly(t, out.uids(), ids)
		states := 0
		for _, l := range out {
			if l.State != nil {
				states++
			}
		}
		if exit != exitOK || states < 3 { // a page every 20 seconds
			t.Errorf("exit %d, %d states", exit, states)
		}
	})
}

func TestFullRefreshReadsAllAgain(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	ids := addEvents(fake, "us-east-1", 1, 120)
	for _, mode := range []string{incremental, fullRefresh} {
		_, out := readAll(t, fake, config(nil), configured(mode), nil)
		_, out = readAll(t, fake, config(nil), configured(fullRefresh), out.lastState(t))
		wantExactly(t, out.uids(), ids)
	}
}

func TestFailedRegion(t *testing.T) {
	for _, mode := range []string{incremental, fullRefresh} {
		t.Run(mode, func(t *testing.T) {
			fake := newFake("us-east-1", "eu-west-1")
			one, two := addEvents(fake, "us-east-1", 1, 120), addEvents(fake, "eu-west-1", 2, 80)
			region := fake.Account(cloudtrailtest.AccountID).Region("eu-west-1")
			region.Deny("not allowed")
			exit, out := readAll(t, fake, config(nil), configured(mode), nil)
			errs := out.traced()
			if exit != exitFailed || out.terminal() != "INCOMPLETE" || len(errs) != 1 {
				t.Fatalf("exit %d, %s, %+v", exit, out.terminal(), errs)
			}
			e := errs[0]
			if e.FailureType != configError || e.Stream == nil || e.Stream.Name != streamName ||
				!strings.Contains(e.Message, "111122223333/eu-west-1") || !strings.Contains(e.Message, "allow cloudtrail:LookupEvents") || e.InternalMessage == "" {
				t.Errorf("%+v", e)
			}
			wantExactly(t, out.uids(), one)

			// The state keeps what the Region owes.
			region.Deny("")
			state := out.lastState(t)
			exit, out = readAll(t, fake, config(nil), configured(mode), state)
			if exit != exitOK {
				t.Errorf("exit %d: %+v", exit, out.traced())
			}
			wantExactly(t, out.uids(), two)

			// The user wants everything, whatever an incremental read had.
			if mode == incremental {
				_, out = readAll(t, fake, config(nil), configured(fullRefresh), state)
				wantExactly(t, out.uids(), one, two)
			}
		})
	}
}

func TestSkippedRegion(t *testing.T) {
	fake := newFake("us-east-1")
	ids := addEvents(fake, "us-east-1", 1, 10)
	exit, out := readAll(t, fake, config(map[string]any{"regions": "all"}), configured(incremental), nil)
	if exit != exitOK || out.terminal() != "COMPLETE" {
		t.Errorf("exit %d, %s, %v", exit, out.terminal(), out.traced())
	}
	wantExactly(t, out.uids(), ids)
	for _, l := range out {
		if l.Log != nil && l.Log.Level == "WARN" && strings.Contains(l.Log.Message, "eu-south-1") && strings.Contains(l.Log.Message, "not enabled") {
			return
		}
	}
	t.Error("no warning names the Region that was skipped")
}

// The platform ends a source with SIGTERM, which cancels the context.
func TestInterrupted(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	one, two := addEvents(fake, "us-east-1", 1, 900), addEvents(fake, "eu-west-1", 2, 900)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Action == "LookupEvents" && c.N == 6 {
			cancel()
		}
		return nil
	})
	exit, out := drive(t, ctx, fake, "read", "--config", write(t, config(nil)), "--catalog", write(t, configured(incremental)))
	checkRead(t, out)
	errs := out.traced()
	if exit != exitFailed || out.terminal() != "INCOMPLETE" || len(errs) != 1 || errs[0].FailureType != transientError {
		t.Errorf("exit %d, %s, %+v", exit, out.terminal(), errs)
	}
	fake.SetFault(nil)
	exit, rest := readAll(t, fake, config(nil), configured(incremental), out.lastState(t))
	if exit != exitOK {
		t.Errorf("exit %d: %+v", exit, rest.traced())
	}
	union := rest.uids()
	if len(union) == 0 {
		t.Error("nothing was left: the interruption came too late to test anything")
	}
	maps.Copy(union, out.uids())
	wantExactly(t, union, one, two)
}

func TestState(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	ids := addEvents(fake, "us-east-1", 1, 60)
	_, out := readAll(t, fake, config(nil), configured(incremental), nil)
	var whole string // the line as this source wrote it
	for _, l := range out {
		if l.State != nil {
			whole = l.text
		}
	}
	descriptor := `"stream_descriptor":{"name":"cloudtrail_events"}`
	for name, test := range map[string]struct {
		state string
		kind  string // of the error; "": none
		all   bool   // everything is read again
	}{
		"list":          {state: string(out.lastState(t))},
		"line":          {state: whole},
		"single":        {state: string(stateOf(t, parseLines(t, whole, "")[0]))},
		"empty list":    {state: `[]`, all: true},
		"empty object":  {state: `{}`, all: true},
		"null":          {state: `null`, all: true},
		"reset":         {state: `[{"type":"STREAM","stream":{` + descriptor + `,"stream_state":null}}]`, all: true},
		"empty state":   {state: `[{"type":"STREAM","stream":{` + descriptor + `,"stream_state":{}}}]`, all: true},
		"other stream":  {state: `[{"type":"STREAM","stream":{"stream_descriptor":{"name":"other"},"stream_state":{"cursor":1}}}]`, all: true},
		"damaged token": {state: `[{"type":"STREAM","stream":{` + descriptor + `,"stream_state":{"token":"ct1.damaged"}}}]`, kind: configError},
		"wrong type":    {state: `[{"type":"STREAM","stream":{` + descriptor + `,"stream_state":{"token":1}}}]`, kind: configError},
		"no JSON":       {state: `{`, kind: configError},
	} {
		t.Run(name, func(t *testing.T) {
			exit, out := readAll(t, fake, config(nil), configured(incremental), []byte(test.state))
			if test.kind != "" {
				if errs := out.traced(); exit != exitFailed || len(errs) != 1 || errs[0].FailureType != test.kind {
					t.Errorf("exit %d: %+v", exit, errs)
				}
				return
			}
			if exit != exitOK {
				t.Errorf("exit %d: %+v", exit, out.traced())
			}
			if test.all {
				wantExactly(t, out.uids(), ids)
			} else {
				wantExactly(t, out.uids())
			}
		})
	}
}

func TestFilter(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	at := time.Now().Add(-time.Hour)
	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").Add(
		cloudtrailtest.Event{EventID: "read", ReadOnly: "true", EventTime: at}, cloudtrailtest.Event{EventID: "written", ReadOnly: "false", EventTime: at})
	_, out := readAll(t, fake, config(map[string]any{"filter": "ReadOnly=false"}), configured(incremental), nil)
	wantExactly(t, out.uids(), []string{"written"})

	exit, out := readAll(t, fake, config(nil), configured(incremental), out.lastState(t))
	errs := out.traced()
	if exit != exitFailed || out.terminal() != "INCOMPLETE" || len(errs) != 1 || errs[0].FailureType != configError || !strings.Contains(errs[0].Message, "Clear it") {
		t.Errorf("exit %d, %s, %+v", exit, out.terminal(), errs)
	}
}

func TestWindow(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	now := time.Now()
	region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
	for id, days := range map[string]int{"1": 1, "5": 5, "20": 20, "60": 60} {
		region.Add(cloudtrailtest.Event{EventID: id, EventTime: now.Add(-time.Duration(days) * 24 * time.Hour)})
	}
	start := now.Add(-30 * 24 * time.Hour).UTC()
	for name, test := range map[string]struct {
		config map[string]any
		want   []string
	}{
		"default":       {want: []string{"1", "5"}},
		"lookback":      {config: map[string]any{"lookbackDays": 2.5}, want: []string{"1"}},
		"start date":    {config: map[string]any{"startDate": start.Format(time.DateOnly)}, want: []string{"1", "5", "20"}},
		"start time":    {config: map[string]any{"startDate": start.Format(time.RFC3339)}, want: []string{"1", "5", "20"}},
		"the later one": {config: map[string]any{"startDate": start.Format(time.RFC3339), "lookbackDays": 10}, want: []string{"1", "5"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, out := readAll(t, fake, config(test.config), configured(incremental), nil)
			wantExactly(t, out.uids(), test.want)
			// A start date is for the first read only.
			_, out = readAll(t, fake, config(test.config), configured(incremental), out.lastState(t))
			wantExactly(t, out.uids())
		})
	}
}

func TestCatalogs(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	addEvents(fake, "us-east-1", 1, 10)
	other := map[string]any{"stream": map[string]any{"name": "users"}, "sync_mode": "full_refresh"}
	exit, out := drive(t, t.Context(), fake, "read", "--config", write(t, config(nil)), "--catalog", write(t, map[string]any{"streams": []any{other}}))
	if exit != exitOK || out.terminal() != "INCOMPLETE" || len(out.uids()) > 0 || fake.Stats().Requests > 0 {
		t.Errorf("exit %d, %s, %d records", exit, out.terminal(), len(out.uids()))
	}
	exit, out = readAll(t, fake, config(nil), configured("sideways"), nil)
	if errs := out.traced(); exit != exitFailed || len(errs) != 1 || errs[0].FailureType != configError {
		t.Errorf("exit %d: %+v", exit, errs)
	}
}

// A platform may have hundreds of partitions failing for one reason.
func TestOneTraceForOneCause(t *testing.T) {
	fake := newFake()
	c := config(map[string]any{"secretAccessKey": "wrong-secret-of-the-user", "regions": "all"})
	exit, out := readAll(t, fake, c, configured(incremental), nil)
	if errs := out.traced(); exit != exitFailed || len(errs) != 1 || !strings.Contains(errs[0].Message, "more") {
		t.Errorf("exit %d: %+v", exit, errs)
	}
}
