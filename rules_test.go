package cloudtrail

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

const day = 24 * time.Hour

// asked returns the start and end of the first requests of walks.
func asked(requests []request) (spans [][2]time.Time) {
	for _, r := range requests {
		if r.token == "" {
			spans = append(spans, [2]time.Time{r.start.UTC(), r.end.UTC()})
		}
	}
	return spans
}

// ms is how a time goes over the wire.
func ms(t time.Time) time.Time { return t.Truncate(time.Millisecond).UTC() }

// What a sync asks for, by token, lookback and Until.
func TestRequestedWindow(t *testing.T) {
	ago := func(d time.Duration) func(time.Time) time.Time {
		return func(now time.Time) time.Time { return now.Add(-d) }
	}
	cases := map[string]struct {
		since      func(now time.Time) SyncToken
		lookback   float64
		until      time.Duration // before now; 0: not given
		start, end func(now time.Time) time.Time
		log        string
	}{
		"default":            {start: ago(7 * day)},
		"lookback":           {lookback: 0.5, start: ago(12 * time.Hour)},
		"90 days":            {lookback: 90, start: ago(90*day - time.Minute)},
		"more than 90 days":  {lookback: 1000, start: ago(90*day - time.Minute), log: "CloudTrail keeps 90 days"},
		"since is later":     {since: func(now time.Time) SyncToken { return SinceTime(now.Add(-time.Hour)) }, start: ago(time.Hour)},
		"since is earlier":   {since: func(now time.Time) SyncToken { return SinceTime(now.Add(-20 * day)) }, start: ago(7 * day), log: "between the sync token and the lookback window"},
		"since is ancient":   {since: func(time.Time) SyncToken { return SinceTime(time.Unix(0, 0)) }, lookback: 90, start: ago(90*day - time.Minute), log: "between the sync token and the lookback window"},
		"until":              {until: day, start: ago(7 * day), end: ago(day)},
		"until, in ms":       {until: day + 123*time.Millisecond, start: ago(7 * day), end: ago(day + 123*time.Millisecond)},
		"until the future":   {until: -day, start: ago(7 * day)},
		"until before start": {until: 8 * day, log: "Until is before the lookback window"},
		"since the future":   {since: func(now time.Time) SyncToken { return SinceTime(now.Add(day)) }},
		"until is the since": {since: func(now time.Time) SyncToken { return SinceTime(now.Add(-day)) }, until: day, start: ago(day), end: ago(day)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				requests := record(fake, nil)
				var log bytes.Buffer
				connector := connect(t, fake, Config{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				now := time.Now()
				o := SyncOptions{LookbackDays: c.lookback}
				if c.until != 0 {
					o.Until = now.Add(-c.until)
				}
				if c.since != nil {
					o.Since = c.since(now)
				}
				res, err := connector.Sync(t.Context(), o, discard)
				require.NoError(t, err)
				require.True(t, res.Partitions[0].Complete)
				require.Contains(t, log.String(), c.log)
				if c.log == "" {
					require.Empty(t, log.String())
				}
				if c.start == nil {
					require.Empty(t, requests.take(), "nothing to read")
					require.Equal(t, o.Since, res.Token)
					return
				}
				end := now
				if c.end != nil {
					end = c.end(now)
				}
				require.Equal(t, [][2]time.Time{{ms(c.start(now)), ms(end)}}, asked(requests.take()))
				through := res.Token.state().of(tokenKeys[0])
				require.Empty(t, through.open)
				require.Equal(t, later(c.start(now), end.Add(-15*time.Minute)).UTC(), through.through)
			})
		})
	}
}

// Both bounds are inclusive, to the millisecond.
func TestBoundsAreInclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		from, to := time.Now().Add(-3*time.Hour+123*time.Millisecond), time.Now().Add(-2*time.Hour+457*time.Millisecond)
		for id, at := range map[string]time.Time{"before": from.Add(-time.Millisecond), "first": from, "last": to, "after": to.Add(time.Millisecond)} {
			region.Add(cloudtrailtest.Event{EventID: id, EventTime: at})
		}
		var got counter
		_, err := connect(t, fake, Config{}).Sync(t.Context(), SyncOptions{Since: SinceTime(from), Until: to}, got.handle)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"111122223333/us-east-1/first": 1, "111122223333/us-east-1/last": 1}, got.seen)
	})
}

// A token remembers its filter; plain times and the zero token fit any.
func TestTokensRememberTheFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		requests := record(fake, nil)
		c := connect(t, fake, Config{})
		filters := []Filter{{}, {"ReadOnly", "false"}, {"ReadOnly", "true"}, {"Username", "alice"}}
		var tokens []SyncToken
		for _, f := range filters {
			for _, since := range []SyncToken{{}, SinceTime(time.Now().Add(-time.Hour))} {
				res, err := c.Sync(t.Context(), SyncOptions{Filter: f, Since: since}, discard)
				require.NoError(t, err)
				if since.IsZero() {
					tokens = append(tokens, res.Token)
				}
			}
		}
		requests.take()
		for i, token := range tokens {
			for j, f := range filters {
				for _, since := range []SyncToken{again(t, token), MergeTokens(token, token), MergeTokens(token, SinceTime(time.Now()))} {
					res, err := c.Sync(t.Context(), SyncOptions{Filter: f, Since: since}, discard)
					if i == j {
						require.NoError(t, err)
						continue
					}
					require.ErrorIs(t, err, ErrInvalidToken)
					require.Equal(t, since, res.Token, "not lost")
				}
				if i != j {
					mixed := again(t, MergeTokens(token, tokens[j]))
					for _, f := range filters {
						_, err := c.Sync(t.Context(), SyncOptions{Filter: f, Since: mixed}, discard)
						require.ErrorIs(t, err, ErrInvalidToken)
					}
				}
			}
		}
		require.Len(t, requests.take(), 3*len(filters), "what is refused reads nothing")
	})
}

// The lookback limits only time that no sync had in scope: a window left open is
// owed until it is 90 days old.
func TestOwedBeyondTheLookback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		now := time.Now()
		h := small(cloudtrailtest.Uniform(3, 300, now.AddDate(0, 0, -7).Add(time.Minute), now.Add(-time.Minute)))
		fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(h)
		requests := record(fake, nil)
		var log bytes.Buffer
		c := connect(t, fake, Config{}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		var got counter
		pages, oldest := 0, time.Time{}
		res, err := c.Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
			if pages++; pages == 3 {
				return errStop
			}
			oldest = p.Records[len(p.Records)-1].EventTime
			return got.handle(ctx, p)
		})
		require.ErrorIs(t, err, errStop)
		requests.take()
		left := res.Token

		time.Sleep(20 * day)
		later := time.Now()
		res, err = c.Sync(t.Context(), SyncOptions{Since: again(t, left), LookbackDays: 1}, got.handle)
		require.NoError(t, err)
		require.Equal(t, [][2]time.Time{{ms(later.Add(-day)), ms(later)}, {ms(now.Add(-7 * day)), ms(oldest)}}, asked(requests.take()))
		got.requireSeen(t, ids("111122223333/us-east-1", h, nil))
		require.Contains(t, log.String(), "between the sync token and the lookback window")
		require.NotContains(t, log.String(), "older than the 90 days")
		require.Equal(t, 1, tokenThrough(res.Token))

		time.Sleep(66 * day) // 86 days later, what is left begins 93 days ago
		later = time.Now()
		res, err = c.Sync(t.Context(), SyncOptions{Since: again(t, left), LookbackDays: 1}, got.handle)
		require.NoError(t, err)
		require.Equal(t, [][2]time.Time{{ms(later.Add(-day)), ms(later)}, {ms(later.Add(-90*day + time.Minute)), ms(oldest)}}, asked(requests.take()))
		require.Contains(t, log.String(), "older than the 90 days")
		require.Equal(t, 1, tokenThrough(res.Token), "what is lost is owed no more")
	})
}

// The through-time never goes back, and a window is owed beyond an Until that
// lies before it.
func TestThroughNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(week(200))
		requests := record(fake, nil)
		c := connect(t, fake, Config{})
		res, err := c.Sync(t.Context(), SyncOptions{}, discard)
		require.NoError(t, err)
		token := res.Token
		for _, until := range []time.Duration{time.Minute, time.Hour, 30 * day} {
			res, err = c.Sync(t.Context(), SyncOptions{Since: token, Until: time.Now().Add(-until)}, discard)
			require.NoError(t, err)
			require.False(t, res.Token.state().of(tokenKeys[0]).through.Before(token.state().of(tokenKeys[0]).through))
			if until > time.Minute {
				require.Equal(t, token, res.Token)
			}
		}

		n := 0
		res, err = c.Sync(t.Context(), SyncOptions{}, func(context.Context, Page) error {
			if n++; n == 2 {
				return errStop
			}
			return nil
		})
		require.ErrorIs(t, err, errStop)
		owed := res.Token.state().of(tokenKeys[0])
		require.Len(t, owed.open, 1)
		middle := owed.open[0].start.Add(owed.open[0].length() / 2)
		requests.take()
		res, err = c.Sync(t.Context(), SyncOptions{Since: again(t, res.Token), Until: middle}, discard)
		require.NoError(t, err)
		require.Equal(t, [][2]time.Time{{ms(owed.open[0].start), ms(middle)}}, asked(requests.take()))
		require.Equal(t, []window{{middle.Add(1), owed.open[0].end}}, res.Token.state().of(tokenKeys[0]).open)
	})
}

// Nothing to be read: bad options are refused before the first request.
func TestRefusedOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		since := SinceTime(time.Now().Add(-time.Hour))
		for name, o := range map[string]SyncOptions{
			"lookback":  {LookbackDays: -1},
			"NaN":       {LookbackDays: math.NaN()},
			"infinite":  {LookbackDays: math.Inf(1)},
			"filter":    {Filter: Filter{"EventTime", "x"}},
			"partition": {Partitions: []Partition{{Region: "eu-west-1"}}},
		} {
			o.Since = since
			res, err := connect(t, fake, Config{}).Sync(t.Context(), o, discard)
			var refused *ConfigError
			require.ErrorAs(t, err, &refused, name)
			require.Equal(t, since, res.Token)
		}
		require.Zero(t, fake.Stats().Requests)
	})
}
