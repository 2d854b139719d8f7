package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// fakeAWS is an organisation at the fake: some accounts, each with a role that
// the workers' key may assume, and the same Regions in each.
type fakeAWS struct {
	fake      *cloudtrailtest.Fake
	roles     []string
	regions   []string
	histories map[string]cloudtrailtest.History // by partition
	mu        sync.Mutex
	arrivals  map[string][]time.Time // of LookupEvents requests, by partition
}

// fakeOptions say how large it is and what happens there.
type fakeOptions struct {
	Accounts, Regions int
	Events            int // in each partition, spread evenly
	EventSize         int // of the raw event
	From, To          time.Time
	Latency           time.Duration // of a page
}

// fakeRegions are enabled by default in every account.
var fakeRegions = []string{
	"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
	"eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1",
	"ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2",
}

func newFakeAWS(o fakeOptions) *fakeAWS {
	f := &fakeAWS{
		fake: cloudtrailtest.New(), regions: fakeRegions[:o.Regions],
		histories: map[string]cloudtrailtest.History{}, arrivals: map[string][]time.Time{},
	}
	for i := range o.Accounts {
		id := accountID(i)
		account := f.fake.Account(id)
		f.roles = append(f.roles, account.AddRole(cloudtrailtest.Role{Name: "reader", Trusts: []string{cloudtrailtest.AccountID}}))
		for j, name := range f.regions {
			history := cloudtrailtest.WithEventSize(cloudtrailtest.Uniform(uint64(i*len(f.regions)+j+1), o.Events, o.From, o.To), o.EventSize)
			f.histories[cloudtrail.Partition{AccountID: id, Region: name}.String()] = history
			region := account.Region(name)
			region.SetHistory(history)
			region.SetLatency(func() time.Duration { return o.Latency })
		}
	}
	f.fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Service == "cloudtrail" {
			f.mu.Lock()
			defer f.mu.Unlock()
			p := cloudtrail.Partition{AccountID: c.AccountID, Region: c.Region}.String()
			f.arrivals[p] = append(f.arrivals[p], time.Now())
		}
		return nil
	})
	return f
}

func accountID(i int) string { return fmt.Sprintf("2222%08d", i) }

// settings are those that make a worker's library read all of it.
func (f *fakeAWS) settings() map[string]string {
	return map[string]string{
		"defaultRegion": f.regions[0],
		"regions":       strings.Join(f.regions, ","),
		"assumeRoleArn": strings.Join(f.roles, ","),
	}
}

// env is the environment of a worker that is to take the fake for AWS.
func (f *fakeAWS) env(url string) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + url,
		"AWS_ACCESS_KEY_ID=" + cloudtrailtest.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + cloudtrailtest.SecretAccessKey,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// events returns the ids of all events that happened up to a time.
func (f *fakeAWS) events(until time.Time) map[string]bool {
	ids := map[string]bool{}
	for _, h := range f.histories {
		for i := range h.Len() {
			if !h.Time(i).After(until) {
				ids[h.Event(i).EventID] = true
			}
		}
	}
	return ids
}

// requests returns how many LookupEvents requests have arrived.
func (f *fakeAWS) requests() int { return f.fake.Stats().Requests }

// excess returns, of the partition where it is largest, by how many requests the
// quota was exceeded at any time: 2 a second after a burst of 2, as AWS counts.
func (f *fakeAWS) excess() (worst string, requests float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, arrivals := range f.arrivals {
		if over := excess(arrivals); over > requests {
			worst, requests = p, over
		}
	}
	return worst, requests
}

// excess returns how far below empty a bucket of 2 requests, refilled with 2 a
// second, would have been.
func excess(arrivals []time.Time) float64 {
	const rate, burst = 2.0, 2.0
	worst, level := 0.0, burst
	for i, at := range arrivals {
		if i > 0 {
			level = min(burst, level+rate*at.Sub(arrivals[i-1]).Seconds())
		}
		level--
		worst = max(worst, -level)
	}
	return worst
}
