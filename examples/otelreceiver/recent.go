package otelreceiver

import (
	"maps"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// settling is how much of its end the next sync reads again, because CloudTrail
// delivers events late.
const settling = 15 * time.Minute

// recent remembers the events that the pipeline has taken and that the next sync
// will bring again: a host that keeps records by UID overwrites them, a log
// would have every event several times. It holds one settling time of events,
// in memory only: a new start of the Collector may send those once more.
type recent map[cloudtrail.Partition]map[string]time.Time // event id → event time

// unseen returns the page's records without those remembered. Two events
// without an id can't be told apart, so they always count as unseen.
func (r recent) unseen(page cloudtrail.Page) []cloudtrail.CloudResource {
	seen := r[page.Partition]
	if len(seen) == 0 {
		return page.Records
	}
	var records []cloudtrail.CloudResource
	for _, record := range page.Records {
		if _, ok := seen[record.EventID]; !ok {
			records = append(records, record)
		}
	}
	return records
}

// add remembers records that were taken, as far as they will come again.
func (r recent) add(p cloudtrail.Partition, records []cloudtrail.CloudResource) {
	for _, record := range records {
		if record.EventID == "" || record.EventTime.Before(record.LastCaptured.Add(-settling)) {
			continue
		}
		if r[p] == nil {
			r[p] = map[string]time.Time{}
		}
		r[p][record.EventID] = record.EventTime
	}
}

// prune forgets what a sync after the one that started then won't bring.
func (r recent) prune(started time.Time) {
	for _, seen := range r {
		maps.DeleteFunc(seen, func(_ string, at time.Time) bool { return at.Before(started.Add(-settling)) })
	}
}
