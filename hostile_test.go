package cloudtrail

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// The largest events that CloudTrail has, a page full of them, and more behind.
func TestLargePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 256 << 10
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		body := `{"x":"` + strings.Repeat(`\"é☃`, size/7) + `"}`
		for i := range 60 {
			region.Add(cloudtrailtest.Event{EventID: strconv.Itoa(i), EventTime: time.Now().Add(-time.Duration(i+1) * time.Minute), CloudTrailEvent: body})
		}
		var got counter
		pages := 0
		_, err := connect(t, fake, Config{}, WithRawEvents()).Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
			for _, r := range p.Records {
				require.Equal(t, len(body), len(r.Raw))
				require.True(t, r.Raw == body)
			}
			pages++
			return got.handle(ctx, p)
		})
		require.NoError(t, err)
		got.requireOnce(t, 60)
		require.Equal(t, 2, pages)
	})
}

// Whatever bytes stand in an event, over the wire too: its record is valid JSON
// and its UID is not empty.
func TestHostileEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 22))
		odd := []string{"\x00", "\x1f", "\x7f", "\u0085", "\u2028", "\ufeff", "\xff\xfe", "\xed\xa0\x80", "\xc3", "\"", "\\", "</script>", "😀", "\n", "a", ":"}
		text := func() (s string) {
			for range rng.IntN(8) {
				s += odd[rng.IntN(len(odd))]
			}
			return s
		}
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		const n = 500
		for i := range n {
			at := time.Now().Add(-time.Duration(i+1) * time.Minute)
			e := cloudtrailtest.Event{EventID: text() + strconv.Itoa(i), EventName: text(), EventSource: text(), Username: text(), AccessKeyID: text(),
				ReadOnly: text(), EventTime: at, Resources: []cloudtrailtest.Resource{{Type: text(), Name: text()}}, CloudTrailEvent: text()}
			if i%10 == 0 {
				e.EventID = "" // its UID is made of the other fields
			}
			if i%50 == 7 { // nothing at all
				e.Raw = json.RawMessage(`{}`)
			}
			region.Add(e)
		}
		records := 0
		_, err := connect(t, fake, Config{}, WithRawEvents()).Sync(t.Context(), SyncOptions{}, func(_ context.Context, p Page) error {
			b, err := json.Marshal(p.Records)
			require.NoError(t, err)
			require.True(t, json.Valid(b) && utf8.Valid(b))
			var back []CloudResource
			require.NoError(t, json.Unmarshal(b, &back))
			require.Len(t, back, len(p.Records))
			for i, r := range back {
				require.NotEmpty(t, r.UID)
				require.True(t, r.EventTime.Equal(p.Records[i].EventTime))
				_, err := json.Marshal(p.Records[i].Attributes())
				require.NoError(t, err)
			}
			records += len(p.Records)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, n, records)
	})
}

// Answers that CloudTrail would never give end in an error or in what can be
// read of them, not in a panic and not in a loop.
func TestHostileAnswers(t *testing.T) {
	harmless := []string{"no events", "null events", "an empty token", "something follows", "a distant time", "an ancient time", "a time to come"}
	for name, body := range map[string]string{
		"null":              `null`,
		"a list":            `[]`,
		"a number":          `7`,
		"no events":         `{}`,
		"null events":       `{"Events":null}`,
		"an event is null":  `{"Events":[null]}`,
		"wrong types":       `{"Events":[{"EventId":7}]}`,
		"a time of text":    `{"Events":[{"EventId":"1","EventTime":"yesterday"}]}`,
		"a distant time":    `{"Events":[{"EventId":"1","EventTime":1e300}]}`,
		"an ancient time":   `{"Events":[{"EventId":"1","EventTime":-1e12}]}`,
		"a time to come":    `{"Events":[{"EventId":"1","EventTime":4102444800}]}`,
		"the token alone":   `{"NextToken":"again"}`,
		"an empty token":    `{"NextToken":"","Events":[]}`,
		"deep":              strings.Repeat(`{"Events":[`, 5000),
		"something follows": `{"Events":[]} {"Events":[]}`,
		"white space":       "  \n ",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(week(30))
				broken := true
				fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
					if c.Service == "cloudtrail" && broken {
						return cloudtrailtest.Answer(200, []byte(body))
					}
					return nil
				})
				c := connect(t, fake, Config{MaxRetries: 3})
				res, err := c.Sync(t.Context(), SyncOptions{}, func(_ context.Context, p Page) error {
					_, err := json.Marshal(p.Records)
					require.NoError(t, err)
					return nil
				})
				require.Equal(t, slices.Contains(harmless, name), err == nil, "%v", err)
				require.Less(t, fake.Stats().Requests, 30)
				broken = false
				var got counter
				_, again := c.Sync(t.Context(), SyncOptions{Since: again(t, res.Token)}, got.handle)
				require.NoError(t, again)
				if err != nil {
					got.requireOnce(t, 30) // what failed is still owed
				}
			})
		})
	}
}
