package cloudtrailtest_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// home returns a new fake and its account's Region.
func home() (*cloudtrailtest.Fake, *cloudtrailtest.Region) {
	f := cloudtrailtest.New()
	return f, f.Account(cloudtrailtest.AccountID).Region(region)
}

// at returns an event with that id some time ago.
func at(id string, ago time.Duration) cloudtrailtest.Event {
	return cloudtrailtest.Event{EventID: id, EventTime: time.Now().Add(-ago)}
}

func ids(events []types.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = aws.ToString(e.EventId)
	}
	return out
}

func TestLimits(t *testing.T) {
	now := time.Now()
	attribute := types.LookupAttribute{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: aws.String("x")}
	for name, test := range map[string]struct {
		in   awscloudtrail.LookupEventsInput
		code string
	}{
		"51 results":      {awscloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}, "InvalidMaxResultsException"},
		"0 results":       {awscloudtrail.LookupEventsInput{MaxResults: aws.Int32(0)}, "InvalidMaxResultsException"},
		"50 results":      {awscloudtrail.LookupEventsInput{MaxResults: aws.Int32(50)}, ""},
		"one instant":     {awscloudtrail.LookupEventsInput{StartTime: &now, EndTime: &now}, ""},
		"ends before":     {awscloudtrail.LookupEventsInput{StartTime: &now, EndTime: aws.Time(now.Add(-time.Second))}, "InvalidTimeRangeException"},
		"two attributes":  {awscloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{attribute, attribute}}, "InvalidLookupAttributesException"},
		"unknown key":     {awscloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: "eventName", AttributeValue: aws.String("x")}}}, "InvalidLookupAttributesException"},
		"empty value":     {awscloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: "EventName", AttributeValue: aws.String("")}}}, "InvalidLookupAttributesException"},
		"invented token":  {awscloudtrail.LookupEventsInput{NextToken: aws.String("abc")}, "InvalidNextTokenException"},
		"insights":        {awscloudtrail.LookupEventsInput{EventCategory: "insight"}, ""},
		"unknown insight": {awscloudtrail.LookupEventsInput{EventCategory: "other"}, "InvalidEventCategoryException"},
	} {
		t.Run(name, func(t *testing.T) {
			f, r := home()
			r.Add(at("1", 0))
			_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), &test.in)
			assert.Equal(t, test.code, code(err), "%v", err)
		})
	}
}

func TestBoundsAreInclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		now := time.Now()
		for s := range 10 {
			r.Add(at(fmt.Sprint(s), time.Duration(s)*time.Second))
		}
		r.Add(at("ms", 4500*time.Millisecond), at("future", -time.Hour), at("old", 90*24*time.Hour+time.Second))
		events, _ := readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{
			StartTime: aws.Time(now.Add(-6 * time.Second)), EndTime: aws.Time(now.Add(-3 * time.Second)),
		})
		assert.Equal(t, []string{"3", "4", "ms", "5", "6"}, ids(events))
		assert.Equal(t, now.Add(-4500*time.Millisecond).UTC(), events[2].EventTime.UTC())

		events, _ = readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{})
		assert.Len(t, events, 11, "neither the future nor what is older than 90 days")
		time.Sleep(time.Hour)
		events, _ = readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{})
		assert.Equal(t, "future", *events[0].EventId)
	})
}

func TestDeliveryDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		c := client(f.AWSConfig(region))
		r.SetDelay(func(e cloudtrailtest.Event) time.Duration {
			if e.EventID == "late" {
				return 10 * time.Minute
			}
			return 0
		})
		r.Add(at("late", time.Second), at("punctual", 2*time.Second))
		events, _ := readAll(t, c, awscloudtrail.LookupEventsInput{})
		assert.Equal(t, []string{"punctual"}, ids(events))
		time.Sleep(10*time.Minute - time.Second)
		events, _ = readAll(t, c, awscloudtrail.LookupEventsInput{})
		assert.Equal(t, []string{"late", "punctual"}, ids(events))
	})
}

func TestAttributes(t *testing.T) {
	f, r := home()
	r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
	wanted := cloudtrailtest.Event{
		EventID: "id", EventName: "name", EventSource: "source", ReadOnly: "true", Username: "user", AccessKeyID: "key",
		Resources: []cloudtrailtest.Resource{{Type: "t", Name: "n"}, {Type: "type", Name: "resource"}},
		EventTime: time.Now().Add(-2 * time.Hour),
	}
	r.Add(wanted)
	for i := range 120 { // more than two pages without a match before it
		r.Add(at(fmt.Sprint(i), time.Hour))
	}
	for key, value := range map[types.LookupAttributeKey]string{
		"EventId": "id", "EventName": "name", "EventSource": "source", "ReadOnly": "true",
		"Username": "user", "AccessKeyId": "key", "ResourceType": "type", "ResourceName": "resource",
	} {
		lookup := func(value string) []types.Event {
			events, pages := readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{
				LookupAttributes: []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}},
			})
			assert.Equal(t, 1, pages)
			return events
		}
		assert.Equal(t, []string{"id"}, ids(lookup(value)), "%s", key)
		assert.Empty(t, lookup(value+"x"), "%s", key)
	}
}

func TestNoTokenAfterTheLastPage(t *testing.T) {
	for n, pages := range map[int]int{0: 1, 1: 1, 50: 1, 51: 2, 100: 2, 101: 3} {
		synctest.Test(t, func(t *testing.T) {
			f, r := home()
			r.SetHistory(cloudtrailtest.Uniform(1, n, time.Now().Add(-time.Hour), time.Now()))
			events, got := readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{})
			assert.Len(t, events, n)
			assert.Equal(t, pages, got)
		})
	}
}

func TestTokensAreBoundToTheirRequest(t *testing.T) {
	f, r := home()
	r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
	f.Account(cloudtrailtest.AccountID).Region("us-west-2").SetQuota(cloudtrailtest.Quota{Rate: 1e9})
	f.Account("444455556666").AddKey("AKIAOTHER", "secret")
	now := time.Now()
	r.SetHistory(cloudtrailtest.Uniform(1, 200, now.Add(-time.Hour), now.Add(-time.Minute)))
	c := client(f.AWSConfig(region))
	params := func() *awscloudtrail.LookupEventsInput {
		return &awscloudtrail.LookupEventsInput{
			StartTime: aws.Time(now.Add(-2 * time.Hour)), EndTime: aws.Time(now), MaxResults: aws.Int32(10),
			LookupAttributes: []types.LookupAttribute{{AttributeKey: "ReadOnly", AttributeValue: aws.String("true")}},
		}
	}
	first, err := c.LookupEvents(t.Context(), params())
	require.NoError(t, err)
	require.NotNil(t, first.NextToken)
	for name, change := range map[string]func(*awscloudtrail.LookupEventsInput){
		"start":     func(in *awscloudtrail.LookupEventsInput) { in.StartTime = aws.Time(in.StartTime.Add(time.Second)) },
		"end":       func(in *awscloudtrail.LookupEventsInput) { in.EndTime = aws.Time(in.EndTime.Add(-time.Second)) },
		"no end":    func(in *awscloudtrail.LookupEventsInput) { in.EndTime = nil },
		"size":      func(in *awscloudtrail.LookupEventsInput) { in.MaxResults = aws.Int32(11) },
		"attribute": func(in *awscloudtrail.LookupEventsInput) { in.LookupAttributes = nil },
		"token":     func(in *awscloudtrail.LookupEventsInput) { in.NextToken = aws.String("A" + (*in.NextToken)[1:]) },
	} {
		in := params()
		in.NextToken = first.NextToken
		change(in)
		_, err := c.LookupEvents(t.Context(), in)
		assert.Equal(t, "InvalidNextTokenException", code(err), name)
	}

	in := params()
	in.NextToken = first.NextToken
	_, err = client(f.AWSConfig("us-west-2")).LookupEvents(t.Context(), in)
	assert.Equal(t, "InvalidNextTokenException", code(err), "another Region")
	_, err = client(withKey(f.AWSConfig(region), "AKIAOTHER", "secret", "")).LookupEvents(t.Context(), in)
	assert.Equal(t, "InvalidNextTokenException", code(err), "another account")
	for range 2 { // and it may be used again
		_, err = c.LookupEvents(t.Context(), in)
		assert.NoError(t, err)
	}
}

// Whatever arrives while somebody pages, the pages hold what was there, once.
func TestPagesAreStableWhileEventsArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
		rng := rand.New(rand.NewPCG(1, 1))
		start := time.Now()
		var want []string
		for i := range 1000 { // a few instants, shared by many
			e := at(fmt.Sprint(i), time.Duration(rng.IntN(20))*time.Minute)
			want = append(want, e.EventID)
			r.Add(e)
		}
		history := cloudtrailtest.Uniform(2, 500, start.Add(-20*time.Minute), start)
		r.SetHistory(history)
		for i := range 500 {
			want = append(want, cloudtrailtest.EventID(2, i))
		}
		c := client(f.AWSConfig(region))
		in := awscloudtrail.LookupEventsInput{MaxResults: aws.Int32(7)}
		seen := map[string]int{}
		last := start.Add(time.Hour)
		for n := 0; ; n++ {
			out, err := c.LookupEvents(t.Context(), &in)
			require.NoError(t, err)
			for _, e := range out.Events {
				require.False(t, e.EventTime.After(last))
				last = *e.EventTime
				seen[*e.EventId]++
			}
			if out.NextToken == nil {
				break
			}
			in.NextToken = out.NextToken
			r.Add(at(fmt.Sprint("new", n), time.Duration(rng.IntN(20))*time.Minute))
		}
		for _, id := range want {
			require.Equal(t, 1, seen[id], id)
		}
		for id, n := range seen {
			require.Equal(t, 1, n, id)
		}
	})
}

func TestWireShapes(t *testing.T) {
	f, r := home()
	now := time.Now().Truncate(time.Second)
	r.Add(
		cloudtrailtest.Event{EventTime: now},
		cloudtrailtest.Event{EventTime: now.Add(-1 * time.Second), Resources: []cloudtrailtest.Resource{}},
		cloudtrailtest.Event{EventTime: now.Add(-2 * time.Second), NullResources: true},
		cloudtrailtest.Event{EventTime: now.Add(-3 * time.Second), Resources: []cloudtrailtest.Resource{{Type: "t"}, {}}},
		cloudtrailtest.Event{EventTime: now.Add(-4 * time.Second), Raw: []byte(`{"EventId":null,"Other":1}`)},
		cloudtrailtest.Event{EventTime: now.Add(-5500 * time.Millisecond), EventName: "a\"\\\x01\n\t\xff é☃"},
	)
	cfg := f.AWSConfig(region)
	var body string
	cfg.HTTPClient = doer{see: func(res *http.Response, err error) (*http.Response, error) {
		if err == nil {
			b, _ := io.ReadAll(res.Body)
			body = string(b)
			res.Body = io.NopCloser(strings.NewReader(`{"Events":[]}`))
		}
		return res, err
	}, next: f}
	_, err := client(cfg).LookupEvents(t.Context(), nil)
	require.NoError(t, err)
	want := []string{
		fmt.Sprintf(`{"EventTime":%d}`, now.Unix()),
		fmt.Sprintf(`{"Resources":[],"EventTime":%d}`, now.Unix()-1),
		fmt.Sprintf(`{"Resources":null,"EventTime":%d}`, now.Unix()-2),
		fmt.Sprintf(`{"Resources":[{"ResourceType":"t"},{}],"EventTime":%d}`, now.Unix()-3),
		`{"EventId":null,"Other":1}`,
		fmt.Sprintf("{\"EventName\":\"a\\\"\\\\\\u0001\\n\\u0009\xff é☃\",\"EventTime\":%d.500}", now.Unix()-6),
	}
	assert.Equal(t, `{"Events":[`+strings.Join(want, ",")+`]}`, body)
}

func TestRefusals(t *testing.T) {
	f, r := home()
	r.Deny("User: x is not authorized to perform: cloudtrail:LookupEvents with an explicit deny in a service control policy")
	_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
	assert.Equal(t, "AccessDeniedException", code(err))
	assert.ErrorContains(t, err, "explicit deny in a service control policy")
	r.Deny("")
	_, err = client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
	assert.NoError(t, err)

	for name, enabled := range map[string]bool{"eu-central-1": true, "eu-south-1": false, "cn-north-1": true, "us-gov-west-1": true} {
		_, err = client(f.AWSConfig(name)).LookupEvents(t.Context(), nil)
		assert.Equal(t, enabled, err == nil, "%s: %v", name, err)
		f.Account(cloudtrailtest.AccountID).Region(name).SetEnabled(!enabled)
		_, err = client(f.AWSConfig(name)).LookupEvents(t.Context(), nil)
		if enabled {
			assert.Equal(t, "UnrecognizedClientException", code(err))
			assert.ErrorContains(t, err, "The security token included in the request is invalid")
		} else {
			assert.NoError(t, err)
		}
		assert.Equal(t, 2, f.Account(cloudtrailtest.AccountID).Region(name).Stats().Requests)
	}
	assert.Equal(t, 10, f.Stats().Requests)
}

func TestLatenciesOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
		r.SetLatency(func() time.Duration { return 4 * time.Second })
		start := time.Now()
		done := make(chan error)
		for range 10 {
			go func() {
				_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
				done <- err
			}()
		}
		time.Sleep(time.Second)
		assert.Equal(t, 10, r.Stats().InFlight)
		for range 10 {
			assert.NoError(t, <-done)
		}
		assert.Equal(t, 4*time.Second, time.Since(start))
		want := cloudtrailtest.Stats{Requests: 10, MaxInFlight: 10, Busy: 40 * time.Second, STS: map[string]int{}}
		assert.Equal(t, want, f.Stats())
		assert.Equal(t, want, r.Stats())
	})
}

func TestRealData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loaded := realEvents(t)
		now := time.Now()
		f, r := home()
		retimed := cloudtrailtest.Retime(loaded, now.Add(-7*24*time.Hour), now)
		r.SetHistory(cloudtrailtest.FromEvents(retimed))
		events, _ := readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{})
		require.Len(t, events, len(loaded))
		for i, e := range events {
			l := loaded[i]
			require.Equal(t, l.EventID, *e.EventId)
			require.Equal(t, l.CloudTrailEvent, *e.CloudTrailEvent)
			require.Equal(t, retimed[i].EventTime, e.EventTime.UTC())
			require.True(t, slices.EqualFunc(l.Resources, e.Resources, func(a cloudtrailtest.Resource, b types.Resource) bool {
				return a.Type == aws.ToString(b.ResourceType) && a.Name == aws.ToString(b.ResourceName)
			}))
		}
	})
}
