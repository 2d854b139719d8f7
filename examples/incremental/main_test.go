package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// Three runs, an hour apart, over a history that goes on: all of it is printed,
// and only what is new and the last 15 minutes by the second and the third.
func TestRunsGoOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		for i := range 300 { // one a minute, from two hours ago to three hours ahead
			region.Add(cloudtrailtest.Event{EventID: fmt.Sprint(i), EventTime: start.Add(time.Duration(i-120) * time.Minute)})
		}
		seen := map[string]bool{}
		for i, most := range []int{121, 76, 76} {
			var out bytes.Buffer
			if err := run(t.Context(), file, &out, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1"))); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			for _, line := range lines {
				var r cloudtrail.CloudResource
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatal(err)
				}
				seen[r.UID] = true
			}
			if want := 121 + 60*i; len(lines) > most+1 || len(seen) != want {
				t.Fatalf("run %d printed %d records; %d of %d were seen", i, len(lines), len(seen), want)
			}
			time.Sleep(time.Until(start.Add(time.Duration(i+1) * time.Hour)))
		}
	})
}

func TestDamagedTokenIsNoFullRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := save(file, "ct1.nonsense"); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), file, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("a damaged token gave %v", err)
	}
}
