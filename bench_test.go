//go:build unix

package cloudtrail

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// BenchmarkEndToEnd is the cost of an event of 2.5 KB: signing, decoding and
// all that the connector does, against the SDK's paginator alone on the same
// answers. One operation reads 5,000 events of each partition.
func BenchmarkEndToEnd(b *testing.B) {
	for _, partitions := range []int{1, 8} {
		for _, reader := range readers {
			b.Run(fmt.Sprintf("partitions=%d/reader=%s", partitions, reader.name), func(b *testing.B) {
				cfg := newCanned(b).awsConfig()
				events, cpu := 0, cpuTime(syscall.RUSAGE_SELF)
				var before, after memory
				before.read()
				for b.Loop() {
					events += reader.read(b, cfg, benchRegions[:partitions])
				}
				after.read()
				each := func(v float64, unit string) { b.ReportMetric(v/float64(events), unit) }
				each(float64(b.Elapsed()), "ns/event")
				each(float64(cpuTime(syscall.RUSAGE_SELF)-cpu), "cpu-ns/event")
				each(float64(after.TotalAlloc-before.TotalAlloc), "B/event")
				each(float64(after.Mallocs-before.Mallocs), "allocs/event")
			})
		}
	}
}

// BenchmarkOverhead is the connector's CPU time as a multiple of the
// paginator's. The two take turns, and the metric is the median over the turns,
// so that a busy machine matters less.
func BenchmarkOverhead(b *testing.B) {
	for _, partitions := range []int{1, 8} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			cfg := newCanned(b).awsConfig()
			var ratios []float64
			for b.Loop() {
				var took [2]time.Duration
				for i := range readers {
					k := (i + len(ratios)) % 2 // whoever goes first
					start := cpuTime(syscall.RUSAGE_SELF)
					readers[k].read(b, cfg, benchRegions[:partitions])
					took[k] = cpuTime(syscall.RUSAGE_SELF) - start
				}
				ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "x-cpu")
		})
	}
}

// A reader reads 100 pages of each Region and returns how many events.
var readers = []struct {
	name string
	read func(*testing.B, aws.Config, []string) int
}{{"paginator", readPaginated}, {"connector", readConnected}}

const benchWindow = 100 * maxPageSize * time.Second // the canned server has an event a second

func readConnected(b *testing.B, cfg aws.Config, regions []string) int {
	c, err := New(b.Context(), Config{Regions: regions, ParallelRequests: len(regions)}, WithAWSConfig(cfg), WithLookupRate(math.Inf(1)))
	require.NoError(b, err)
	result, err := c.Sync(b.Context(), SyncOptions{LookbackDays: benchWindow.Hours() / 24}, func(context.Context, Page) error { return nil })
	require.NoError(b, err)
	return result.Records
}

// Real names: for an unknown one the SDK compiles regular expressions, for every
// request.
var benchRegions = []string{"us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1", "eu-west-2", "eu-central-1", "ap-south-1"}

// readPaginated has a paginator for each Region, all at once.
func readPaginated(b *testing.B, cfg aws.Config, regions []string) int {
	end := time.Now()
	start := end.Add(-benchWindow)
	var group errgroup.Group
	counts := make([]int, len(regions))
	for i, region := range regions {
		group.Go(func() error {
			client := awscloudtrail.NewFromConfig(cfg, func(o *awscloudtrail.Options) { o.Region = region })
			pages := awscloudtrail.NewLookupEventsPaginator(client, &awscloudtrail.LookupEventsInput{StartTime: &start, EndTime: &end})
			for pages.HasMorePages() {
				page, err := pages.NextPage(b.Context())
				if err != nil {
					return err
				}
				counts[i] += len(page.Events)
			}
			return nil
		})
	}
	require.NoError(b, group.Wait())
	events := 0
	for _, n := range counts {
		events += n
	}
	return events
}

// canned answers LookupEvents at next to no cost, in any Region, from a page of
// the fake's that is cut where ids and times go. Its history has an event in
// every second of all time.
type canned struct {
	events [][3][]byte // before the id's last digits, between them and the time, after it
	pool   sync.Pool   // of *bytes.Buffer
}

func newCanned(tb testing.TB) *canned {
	fake := cloudtrailtest.New()
	now := time.Now()
	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(cloudtrailtest.Uniform(1, maxPageSize, now.Add(-time.Hour), now))
	var page struct{ Events []json.RawMessage }
	cfg := fake.AWSConfig("us-east-1")
	cfg.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := fake.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		require.NoError(tb, err)
		require.NoError(tb, json.Unmarshal(body, &page))
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp, nil
	})
	_, err := awscloudtrail.NewFromConfig(cfg).LookupEvents(tb.Context(), &awscloudtrail.LookupEventsInput{})
	require.NoError(tb, err)
	require.Len(tb, page.Events, maxPageSize)
	c := &canned{pool: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
	for _, e := range page.Events {
		const id, at = `"EventId":"`, `"EventTime":`
		cutID := bytes.Index(e, []byte(id)) + len(id) + 24 // the last of a UUID's groups
		cutTime := bytes.LastIndex(e, []byte(at)) + len(at)
		c.events = append(c.events, [3][]byte{e[:cutID], e[cutID+12 : cutTime], []byte("}")})
	}
	return c
}

type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

func (c *canned) awsConfig() aws.Config {
	return aws.Config{
		Region:      "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		HTTPClient:  doFunc(c.do),
	}
}

// do answers without a network.
func (c *canned) do(r *http.Request) (*http.Response, error) {
	body := c.pool.Get().(*bytes.Buffer)
	if err := c.answer(body, r); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header:        http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}},
		ContentLength: int64(body.Len()),
		Body:          &cannedBody{body, &c.pool},
	}, nil
}

type cannedBody struct {
	*bytes.Buffer
	pool *sync.Pool
}

func (b *cannedBody) Close() error {
	if b.Buffer != nil {
		b.Reset()
		b.pool.Put(b.Buffer)
		b.Buffer = nil
	}
	return nil
}

// answer writes a page of the window that the request asks for, from the second
// that its NextToken names.
func (c *canned) answer(b *bytes.Buffer, r *http.Request) error {
	if r.Header.Get("X-Amz-Target") == "" {
		return answerSTS(b, r)
	}
	var in struct {
		StartTime, EndTime float64
		NextToken          string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return err
	}
	at, start := int64(in.EndTime), int64(math.Ceil(in.StartTime))
	if in.NextToken != "" {
		var err error
		if at, err = strconv.ParseInt(in.NextToken, 10, 64); err != nil {
			return err
		}
	}
	b.WriteString(`{"Events":[`)
	for i := 0; i < len(c.events) && at >= start; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		e := c.events[i]
		b.Write(e[0])
		b.Write(strconv.AppendInt(b.AvailableBuffer(), 1e11+at, 10))
		b.Write(e[1])
		b.Write(strconv.AppendInt(b.AvailableBuffer(), at, 10))
		b.Write(e[2])
		at--
	}
	b.WriteByte(']')
	if at >= start {
		fmt.Fprintf(b, `,"NextToken":"%d"`, at)
	}
	b.WriteByte('}')
	return nil
}

// answerSTS lets every role be assumed.
func answerSTS(b *bytes.Buffer, r *http.Request) error {
	form, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	in, err := url.ParseQuery(string(form))
	if err != nil {
		return err
	}
	result := `<Arn>arn:aws:iam::111122223333:user/bench</Arn><UserId>AIDA</UserId><Account>111122223333</Account>`
	if role := in.Get("RoleArn"); role != "" {
		result = `<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>` +
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `</Expiration></Credentials><AssumedRoleUser><Arn>` + role + `/bench</Arn><AssumedRoleId>AROA:bench</AssumedRoleId></AssumedRoleUser>`
	}
	action := in.Get("Action")
	fmt.Fprintf(b, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>%s</%[1]sResult></%[1]sResponse>`, action, result)
	return nil
}

// cpuTime is what this process, or those that it waited for, have used.
func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
