package cloudtrail

import "context"

// Handler is given each page of a Sync, one call at a time, on the goroutine
// that called Sync. When it returns nil the page counts as stored. An error
// ends the sync: Sync returns it, and the page is not covered by the token.
type Handler func(ctx context.Context, page Page) error

// Page is what one LookupEvents request returned, mapped. It has at least one
// record.
type Page struct {
	Partition Partition
	Records   []CloudResource

	token func() SyncToken
}

// Token returns where to go on if everything stops once this page is stored:
// it covers exactly the pages that the handler has accepted, and this one. It
// is the zero token for a Page made by hand.
func (p Page) Token() SyncToken {
	if p.token == nil {
		return SyncToken{}
	}
	return p.token()
}

// SyncResult is what a Sync did.
type SyncResult struct {
	Token          SyncToken // Since of the next sync; valid also when Sync returned an error
	Records, Pages int
	Partitions     []PartitionResult // one for each partition, in the order of Connector.Partitions
}

// PartitionResult is what a Sync did in one partition.
type PartitionResult struct {
	Partition Partition
	// Records and Pages were handed over. Requests counts attempts; Throttles
	// those of them that CloudTrail answered by throttling, Retries those after
	// the first of a request.
	Records, Pages, Requests, Throttles, Retries int

	Complete bool   // everything in the window was delivered
	Skipped  string // why it was not read, e.g. "Region not enabled"
	Err      error  // a *PartitionError, or nil
}

// Sync reads every event that o asks for and hands it to h.
func (c *Connector) Sync(ctx context.Context, o SyncOptions, h Handler) (SyncResult, error) {
	panic("not yet")
}
