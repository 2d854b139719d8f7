package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// A STATE follows the page that reaches either: what a crash makes the next
// read repeat is little, and the states, some kilobytes with many Regions, are
// few among the records.
const (
	stateRecords  = 1000
	stateInterval = 10 * time.Second
)

// read syncs the stream.
func read(ctx context.Context, set settings, in files, out *output, opts []cloudtrail.Option) error {
	mode, unknown, err := loadCatalog(in.catalog)
	if err != nil {
		return err
	}
	state, err := loadState(in.state)
	if err != nil {
		return err
	}
	log := slog.New(newLogHandler(out))
	for _, s := range unknown {
		log.Warn("this source has no such stream", "name", s.Name, "namespace", s.Namespace)
		if err := out.status(s, "INCOMPLETE"); err != nil {
			return err
		}
	}
	if mode == "" {
		return nil
	}

	r := &reader{out: out, log: log, mode: mode, stream: streamDescriptor{Name: streamName}, stated: time.Now(),
		covered: map[cloudtrail.Partition]cloudtrail.Progress{}}
	if since := state.since(mode); !since.IsZero() {
		log.Info("going on from the state")
		set.sync.Since = since
	} else if in.state != "" && state == (streamState{}) {
		log.Info("the state says nothing of this stream: reading from the start")
	}
	if err := out.status(r.stream, "STARTED"); err != nil {
		return err
	}
	err = r.sync(ctx, set, append(opts, cloudtrail.WithObserver(cloudtrail.Observer{Progress: r.progress})))
	status := "COMPLETE"
	if err != nil {
		status = "INCOMPLETE"
	}
	return errors.Join(err, out.status(r.stream, status))
}

// reader is one read of the stream. Its fields but the last two belong to the
// handler's goroutine.
type reader struct {
	out    *output
	log    *slog.Logger
	mode   string
	stream streamDescriptor

	records int       // emitted
	pending int       // of them, those that no STATE covers
	stated  time.Time // when the last STATE was emitted

	mu      sync.Mutex
	covered map[cloudtrail.Partition]cloudtrail.Progress
}

func (r *reader) sync(ctx context.Context, set settings, opts []cloudtrail.Option) error {
	connector, err := cloudtrail.New(ctx, set.config, opts...)
	if err != nil {
		return err
	}
	result, err := connector.Sync(ctx, set.sync, r.page)
	for _, p := range result.Partitions {
		r.summarize(p)
	}
	if result.Token.IsZero() {
		return err
	}
	return errors.Join(err, r.state(result.Token, err == nil))
}

// page emits the records and, where it is time, the STATE that covers them. It
// is the handler of the sync.
func (r *reader) page(_ context.Context, page cloudtrail.Page) error {
	if r.records == 0 {
		if err := r.out.status(r.stream, "RUNNING"); err != nil {
			return err
		}
	}
	at := now()
	for _, resource := range page.Records {
		if err := r.out.emit(message{Type: "RECORD", Record: &record{streamName, resource, at}}); err != nil {
			return err
		}
	}
	r.records += len(page.Records)
	r.pending += len(page.Records)
	if r.pending < stateRecords && time.Since(r.stated) < stateInterval {
		return nil
	}
	r.log.Info(r.soFar())
	return r.state(page.Token(), false)
}

// state emits where to go on once everything before it is stored.
func (r *reader) state(token cloudtrail.SyncToken, complete bool) error {
	m := &stateMessage{
		Type:        "STREAM",
		Stream:      &namedState{r.stream, &streamState{token, r.mode, complete}},
		SourceStats: &sourceStats{recordCount(r.pending)},
	}
	r.pending, r.stated = 0, time.Now()
	return r.out.emit(message{Type: "STATE", State: m})
}

// progress only takes notes: an observer must not block, and the output may.
func (r *reader) progress(p cloudtrail.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.covered[p.Partition] = p
}

func (r *reader) soFar() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := 0
	for _, p := range r.covered {
		if p.Done {
			done++
		}
	}
	return fmt.Sprintf("%d records; read to the end: %d of the %d accounts and Regions with events so far", r.records, done, len(r.covered))
}

func (r *reader) summarize(p cloudtrail.PartitionResult) {
	attrs := []any{"partition", p.Partition.String(), "records", p.Records, "requests", p.Requests, "throttled", p.Throttles}
	switch {
	case p.Err != nil: // the library has logged it, and it is traced
	case p.Skipped != "":
		r.log.Warn("skipped", append(attrs, "reason", p.Skipped)...)
	case !p.Complete:
		r.log.Warn("not read to the end, the next sync goes on from here", attrs...)
	default:
		r.log.Info("read", attrs...)
	}
}
