package cloudtrailtest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func TestLoadEvents(t *testing.T) {
	events, err := cloudtrailtest.LoadEvents(strings.NewReader(`{"NextToken": "x", "Events": [
		{"EventId": "1", "EventName": "n", "EventSource": "s", "Username": "u", "AccessKeyId": "k", "ReadOnly": "true",
		 "EventTime": "2026-01-02T03:04:05+02:00", "CloudTrailEvent": "{}", "Resources": [{"ResourceType": "t", "ResourceName": "r"}, {"ResourceName": null}]},
		{"EventTime": "2026-01-02T03:04:05.123Z", "Resources": []},
		{"EventTime": 1767323045.5, "Resources": null},
		{"EventTime": 1767323045}]}`))
	require.NoError(t, err)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	assert.Equal(t, []cloudtrailtest.Event{
		{EventID: "1", EventName: "n", EventSource: "s", Username: "u", AccessKeyID: "k", ReadOnly: "true",
			EventTime: at.Add(-2 * time.Hour), CloudTrailEvent: "{}", Resources: []cloudtrailtest.Resource{{Type: "t", Name: "r"}, {}}},
		{EventTime: at.Add(123 * time.Millisecond), Resources: []cloudtrailtest.Resource{}},
		{EventTime: at.Add(500 * time.Millisecond), NullResources: true},
		{EventTime: at},
	}, events)
}

func TestLoadEventsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                       "EOF",
		`{}`:                                     `no "Events"`,
		`[]`:                                     "cannot unmarshal",
		`{"Events":[]}{"Events":[]}`:             "something follows",
		`{"Events":[{}]}`:                        "event 0: EventTime",
		`{"Events":[{"EventTime":null}]}`:        "event 0: EventTime",
		`{"Events":[{"EventTime":""}]}`:          "event 0: EventTime",
		`{"Events":[{"EventTime":"yesterday"}]}`: "event 0: EventTime",
		`{"Events":[{"EventTime":1e300}]}`:       "event 0: EventTime",
		`{"Events":[{"EventTime":1,"Resources":{}}]}`: "event 0: Resources",
		`{"Events":[{"EventTime":1,"EventId":1}]}`:    "EventId",
	} {
		_, err := cloudtrailtest.LoadEvents(strings.NewReader(text))
		assert.ErrorContains(t, err, want, text)
	}
	events, err := cloudtrailtest.LoadEvents(strings.NewReader(`{"Events":[]}`))
	assert.NoError(t, err)
	assert.Empty(t, events)
}

func TestRetime(t *testing.T) {
	base := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	events := []cloudtrailtest.Event{
		{EventID: "old", EventTime: base}, {EventID: "new", EventTime: base.Add(time.Hour)},
		{EventID: "mid1", EventTime: base.Add(time.Minute)}, {EventID: "mid2", EventTime: base.Add(time.Minute)},
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	retimed := cloudtrailtest.Retime(events, from, from.Add(10*time.Second))
	var got []string
	for _, e := range retimed {
		got = append(got, fmt.Sprint(e.EventID, " ", e.EventTime.Sub(from)))
	}
	assert.Equal(t, []string{"new 10s", "mid1 6s", "mid2 3s", "old 0s"}, got)
	assert.Equal(t, base, events[0].EventTime, "the caller's own are left alone")
	assert.Empty(t, cloudtrailtest.Retime(nil, from, from))
	assert.Equal(t, from, cloudtrailtest.Retime(events[:1], from.Add(-time.Hour), from)[0].EventTime)
}

func FuzzLoadEvents(f *testing.F) {
	f.Add([]byte(`{"Events":[{"EventTime":"2026-01-02T03:04:05Z","Resources":[{"ResourceType":"t"}]}]}`))
	f.Add([]byte(`{"Events":[{"EventTime":1767323045.5,"Resources":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := cloudtrailtest.LoadEvents(bytes.NewReader(b))
		if err != nil {
			return
		}
		h := cloudtrailtest.FromEvents(events)
		for i := range h.Len() {
			if i > 0 && h.Time(i).After(h.Time(i-1)) {
				t.Fatalf("event %d is newer than the one before", i)
			}
		}
		now := time.Now()
		fake, r := home()
		r.SetHistory(cloudtrailtest.FromEvents(cloudtrailtest.Retime(events, now.Add(-time.Hour), now)))
		out, err := client(fake.AWSConfig(region)).LookupEvents(t.Context(), &nothing)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Events) != min(len(events), 50) {
			t.Fatalf("%d events of %d", len(out.Events), len(events))
		}
	})
}

// Whatever a signed request holds, the answer is one of the protocol's.
func FuzzRequest(f *testing.F) {
	f.Add("CloudTrail_20131101.LookupEvents", []byte(`{"StartTime":1.7e9,"EndTime":1767323045.123,"MaxResults":10,"LookupAttributes":[{"AttributeKey":"EventId","AttributeValue":"x"}]}`))
	f.Add("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", []byte(`{"NextToken":"x","MaxResults":0}`))
	f.Add("CloudTrail_20131101.LookupEvents", []byte(`{"StartTime":1e12,"EndTime":-1e12}`))
	f.Add("", []byte(`Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/x&RoleSessionName=yy&DurationSeconds=900`))
	f.Add("", []byte(`Action=%zz`))
	now := time.Now()
	fake, r := home()
	r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
	r.SetHistory(cloudtrailtest.Uniform(1, 1000, now.Add(-time.Hour), now))
	fake.Account(cloudtrailtest.AccountID).AddRole(cloudtrailtest.Role{Name: "x"})
	signer := v4.NewSigner()
	f.Fuzz(func(t *testing.T, target string, body []byte) {
		service, query := "cloudtrail", target == ""
		if query {
			service = "sts"
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header["X-Amz-Target"] = []string{target}
		hash := sha256.Sum256(body)
		key := aws.Credentials{AccessKeyID: cloudtrailtest.AccessKeyID, SecretAccessKey: cloudtrailtest.SecretAccessKey}
		if err := signer.SignHTTP(t.Context(), key, request, hex.EncodeToString(hash[:]), service, region, time.Now()); err != nil {
			t.Fatal(err)
		}
		response, err := fake.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case response.StatusCode != 200 && response.StatusCode != 400 && response.StatusCode != 403:
			t.Fatalf("status %d", response.StatusCode)
		case query && !bytes.Contains(answer, []byte("<RequestId>")):
			t.Fatalf("not an answer of STS: %s", answer)
		case !query && !json.Valid(answer):
			t.Fatalf("no JSON: %s", answer)
		}
		if bytes.Contains(answer, []byte("InvalidSignature")) {
			t.Fatalf("signature: %s", answer)
		}
	})
}
