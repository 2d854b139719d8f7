package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// The accounts beside cloudtrailtest.AccountID, whose key is printed.
const (
	otherAccount  = "222233334444"
	lockedAccount = "333344445555"
	homeRegion    = "us-east-1"
	closedRegion  = "eu-south-1" // not enabled in any of the accounts
	externalID    = "example-external-id"
)

var (
	accounts = []string{cloudtrailtest.AccountID, otherAccount, lockedAccount}
	regions  = []string{homeRegion, "us-west-2", "eu-central-1"}
)

// world is the fake with what it knows, and a description of that.
type world struct {
	fake  *cloudtrailtest.Fake
	notes []string
}

func newWorld(s settings, now time.Time) (world, error) {
	w := world{fake: cloudtrailtest.New()}
	var loaded []cloudtrailtest.Event
	if s.events != "" {
		file, err := os.Open(s.events)
		if err != nil {
			return w, err
		}
		defer file.Close()
		if loaded, err = cloudtrailtest.LoadEvents(file); err != nil {
			return w, fmt.Errorf("%s: %w", s.events, err)
		}
	}

	// An hour inside the seven days, so that a lookback of seven days still
	// finds all of them after the fake has run for a while.
	from, to := now.Add(-7*24*time.Hour+time.Hour), now
	for i, account := range accounts {
		for j, name := range regions {
			region := w.fake.Account(account).Region(name)
			region.SetLatency(func() time.Duration { return s.latency })
			region.SetQuota(cloudtrailtest.Quota{Rate: s.rate})
			switch {
			case loaded == nil:
				n := 400 - 120*i - 30*j
				region.SetHistory(cloudtrailtest.Uniform(uint64(10*i+j), n, from, to))
				w.note("account %s Region %s: %d events", account, name, n)
			case i == 0 && j == 0: // what was loaded is there once
				region.SetHistory(cloudtrailtest.FromEvents(cloudtrailtest.Retime(loaded, from, to)))
				w.note("account %s Region %s: %d events", account, name, len(loaded))
			}
		}
		w.fake.Account(account).Region(closedRegion).SetEnabled(false)
	}
	w.note("Region %s: not enabled", closedRegion)

	for _, r := range []struct {
		account string
		role    cloudtrailtest.Role
	}{
		{cloudtrailtest.AccountID, cloudtrailtest.Role{Name: "hub"}},
		{otherAccount, cloudtrailtest.Role{Name: "team/reader", MaxSession: 12 * time.Hour}},
		{lockedAccount, cloudtrailtest.Role{Name: "locked-reader", ExternalID: externalID}},
	} {
		arn := w.fake.Account(r.account).AddRole(r.role)
		if id := r.role.ExternalID; id != "" {
			w.note("role %s external id %s", arn, id)
		} else {
			w.note("role %s", arn)
		}
	}
	return w, nil
}

func (w *world) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// describe prints what a shell needs, and then the rest as comments.
func (w *world) describe(out io.Writer, url string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "AWS_ENDPOINT_URL=%s\n", url)
	fmt.Fprintf(&b, "AWS_ACCESS_KEY_ID=%s\n", cloudtrailtest.AccessKeyID)
	fmt.Fprintf(&b, "AWS_SECRET_ACCESS_KEY=%s\n", cloudtrailtest.SecretAccessKey)
	fmt.Fprintf(&b, "AWS_DEFAULT_REGION=%s\nAWS_REGION=%s\n", homeRegion, homeRegion)
	for _, note := range w.notes {
		fmt.Fprintf(&b, "# %s\n", note)
	}
	b.WriteString("# ready: point clients here; interrupt to stop\n")
	_, err := io.WriteString(out, b.String())
	return err
}
