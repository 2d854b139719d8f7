package main

import (
	"fmt"
	"strings"

	"github.com/cloudtrail-connector/cloudtrail"
)

// PartitionReport is what one attempt at a partition did, and in a heartbeat
// what it has done so far.
type PartitionReport struct {
	Token                                        cloudtrail.SyncToken // all up to here is stored
	Records, Pages, Requests, Throttles, Retries int                  // of the last attempt
	Complete                                     bool                 // nothing is owed up to the sync's start
	Skipped                                      string               // why it was not read
}

// Report is what a sync did. Counts are those of each partition's last attempt.
type Report struct {
	Partitions, Complete, Skipped, Unfinished, Failed int
	Records, Pages, Requests, Throttles, Retries      int
	Failures                                          []Failure // the first of them
}

// Failure says why a partition could not be read and what to do about it.
type Failure struct{ Partition, Error string }

// maxFailures keeps a report small however many partitions fail: it is in the
// history twice.
const maxFailures = 50

func (r *Report) add(p cloudtrail.Partition, part PartitionReport, err error) {
	switch {
	case err != nil:
		r.Failed++
		r.Failures = append(r.Failures, Failure{p.String(), reason(err)})
	case part.Skipped != "":
		r.Skipped++
	case part.Complete:
		r.Complete++
	default:
		r.Unfinished++
	}
	r.Records += part.Records
	r.Pages += part.Pages
	r.Requests += part.Requests
	r.Throttles += part.Throttles
	r.Retries += part.Retries
	r.Failures = r.Failures[:min(len(r.Failures), maxFailures)]
}

// merge adds a batch's report; Partitions is the plan's.
func (r *Report) merge(b Report) {
	r.Complete += b.Complete
	r.Skipped += b.Skipped
	r.Unfinished += b.Unfinished
	r.Failed += b.Failed
	r.Records += b.Records
	r.Pages += b.Pages
	r.Requests += b.Requests
	r.Throttles += b.Throttles
	r.Retries += b.Retries
	r.Failures = append(r.Failures, b.Failures...)
	r.Failures = r.Failures[:min(len(r.Failures), maxFailures)]
}

// String returns the counts in a line and below it the failures.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d partitions: %d complete, %d unfinished, %d skipped, %d failed; %d records in %d pages, %d requests, %d throttled",
		r.Partitions, r.Complete, r.Unfinished, r.Skipped, r.Failed, r.Records, r.Pages, r.Requests, r.Throttles)
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "\n  %s: %s", f.Partition, f.Error)
	}
	return b.String()
}
