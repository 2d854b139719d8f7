package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

const demoRegion = "us-east-1" // where the demo's roles are assumed

// demo is a fake of AWS with three accounts, each read through a role. It is
// not touched by the environment, and needs nothing of it.
type demo struct {
	fake  *cloudtrailtest.Fake
	roles []string
	parts map[string]bool // by Partition.String
}

// demoRegions are the accounts' Regions: how many events each has, and what the
// demo shows there besides plain reading.
var demoRegions = []struct {
	account, region string
	events          int
	special         string
	prepare         func(*cloudtrailtest.Region)
}{
	{"222233334444", "us-east-1", 1950, "slow", func(r *cloudtrailtest.Region) { latency(r, 1800*time.Millisecond) }},
	{"222233334444", "eu-central-1", 1600, "", nil},
	{"222233334444", "ap-southeast-2", 450, "", nil},
	{"333344445555", "us-east-1", 2100, "", nil},
	{"333344445555", "us-west-2", 800, "throttled: somebody else uses its quota too", func(r *cloudtrailtest.Region) {
		r.SetQuota(cloudtrailtest.Quota{Others: 1})
	}},
	{"333344445555", "me-south-1", 0, "not enabled", func(r *cloudtrailtest.Region) { r.SetEnabled(false) }},
	{"444455556666", "us-east-1", 1250, "", nil},
	{"444455556666", "eu-west-1", 900, "", nil},
	{"444455556666", "sa-east-1", 0, "", nil}, // nothing ever happens here
}

func latency(r *cloudtrailtest.Region, d time.Duration) {
	r.SetLatency(func() time.Duration { return d })
}

// newDemo makes the same number of events whatever the time is: over the last
// week, most of them in the working hours.
func newDemo(now time.Time) *demo {
	d := &demo{fake: cloudtrailtest.New(), parts: map[string]bool{}}
	to := now.UTC().Truncate(time.Second).Add(-time.Second)
	from := to.Add(-7*24*time.Hour + 10*time.Minute)
	var days []time.Time
	for day := from.Truncate(24 * time.Hour); day.Before(to); day = day.Add(24 * time.Hour) {
		if day.Weekday() != time.Saturday && day.Weekday() != time.Sunday && day.Add(16*time.Hour).Before(to) {
			days = append(days, day.Add(7*time.Hour))
		}
	}
	for i, p := range demoRegions {
		account := d.fake.Account(p.account)
		region := account.Region(p.region)
		latency(region, 150*time.Millisecond)
		region.SetHistory(cloudtrailtest.Bursts(uint64(i+1), p.events, days, 9*time.Hour, 0.7, from, to))
		if p.prepare != nil {
			p.prepare(region)
		}
		d.parts[p.account+"/"+p.region] = true
		role := account.AddRole(cloudtrailtest.Role{Name: "cloudtrail-reader", MaxSession: 12 * time.Hour})
		if !slices.Contains(d.roles, role) {
			d.roles = append(d.roles, role)
		}
	}
	return d
}

// settings gives what the flags leave open. Flags that were given count here
// too.
func (d *demo) settings(s settings) settings {
	if len(s.config.Regions) > 0 || s.config.AssumeRoleARN != "" {
		d.parts = nil // what was asked for is read
	}
	if len(s.config.Regions) == 0 {
		s.config.Regions = []string{"all"} // Regions that are not enabled are skipped then
	}
	if s.config.AssumeRoleARN == "" {
		for i, role := range d.roles {
			if i > 0 {
				s.config.AssumeRoleARN += ","
			}
			s.config.AssumeRoleARN += role
		}
	}
	s.config.DefaultRegion = demoRegion
	return s
}

// choose leaves out the Regions in which the demo has nothing to show.
func (d *demo) choose(all []cloudtrail.Partition) []cloudtrail.Partition {
	if d.parts == nil {
		return all
	}
	return slices.DeleteFunc(all, func(p cloudtrail.Partition) bool { return !d.parts[p.String()] })
}

// demoHint says what a second run would do.
func demoHint(res cloudtrail.SyncResult) string {
	requests, special := 0, ""
	for _, p := range res.Partitions {
		if p.Skipped == "" {
			requests++
		}
		for _, d := range demoRegions {
			if d.special != "" && p.Partition.AccountID == d.account && p.Partition.Region == d.region {
				special += fmt.Sprintf(" %s is %s.", p.Partition, d.special)
			}
		}
	}
	return "That was an embedded fake of AWS." + special + "\n" +
		"With -state FILE a second run would go on from here: it would read what is new and, because events arrive late, the last 15 minutes once more, with about " + count(requests, "request") + "; those records have the same UIDs.\n" +
		"Add -plot activity.png for a picture.\n"
}
