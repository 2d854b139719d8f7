package cloudtrail

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// randomOwed lies on whole seconds between 0 and 40.
func randomOwed(rng *rand.Rand) owed {
	ws := []window{}
	for range rng.IntN(5) {
		from := rng.IntN(40)
		ws = append(ws, window{at(float64(from)), at(float64(from + rng.IntN(10)))})
	}
	return newOwed(ws, at(float64(rng.IntN(40))))
}

func (o owed) has(t time.Time) bool {
	for _, w := range o.windows() {
		if !t.Before(w.start) && t.Before(w.end) {
			return true
		}
	}
	return false
}

// The algebra agrees with its meaning at every instant, and its results are
// sorted, disjoint and before through.
func TestOwedAlgebra(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 2))
		a, b := randomOwed(rng), randomOwed(rng)
		e, i := either(a, b), both(a, b)
		require.Equal(t, both(b, a), i)
		require.Equal(t, either(b, a), e)
		require.Equal(t, a, both(a, a))
		for s := -1.0; s < 60; s += 0.5 {
			require.Equal(t, a.has(at(s)) || b.has(at(s)), e.has(at(s)), "seed %d at %v", seed, s)
			require.Equal(t, a.has(at(s)) && b.has(at(s)), i.has(at(s)), "seed %d at %v", seed, s)
		}
		for _, o := range []owed{a, e, i} {
			before := time.Time{}
			for _, w := range o.open {
				require.False(t, w.empty())
				require.True(t, w.start.After(before) || before.IsZero())
				before = w.end
			}
			require.False(t, before.After(o.through))
		}
	}
}

// A plan reads exactly what is owed, limited as promised, and afterwards the
// partition owes exactly what is left of it, what is new, and the overlap.
func TestPlan(t *testing.T) {
	now := at(1000 * 24 * 3600)
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		ago := func(days int) time.Time { return now.Add(-time.Duration(rng.IntN(days*24*60)) * time.Minute) }
		var o owed
		if rng.IntN(4) > 0 {
			through := ago(100)
			o = newOwed([]window{{ago(120), ago(120)}, {ago(120), ago(120)}}, through)
		}
		end := now
		if rng.IntN(3) == 0 {
			end = ago(30)
		}
		lookback := time.Duration(1+rng.IntN(90*24)) * time.Hour
		p := o.plan(now, end, lookback)
		oldest := now.Add(-history)
		inTodo := func(at time.Time) bool { return owed{p.todo, endless}.has(at) }
		left := randomPart(rng, p.todo)
		after := p.after(left)
		require.False(t, after.through.Before(o.through), "never back")
		if len(p.todo) == 0 {
			require.Equal(t, o.through, after.through)
		}
		for range 200 {
			at := ago(130)
			opened := owed{o.open, endless}.has(at)
			fresh := !at.Before(o.through) && !at.Before(now.Add(-lookback))
			want := (opened || fresh) && !at.Before(oldest) && !at.After(end)
			require.Equal(t, want, inTodo(at), "seed %d: %s", seed, at)
			if at.Before(oldest) {
				continue
			}
			stillOwed := owed{left, endless}.has(at) || opened && at.After(end)
			require.Equal(t, stillOwed || !at.Before(after.through), after.has(at), "seed %d: %s", seed, at)
		}
		if scope := later(o.through, later(now.Add(-lookback), oldest)); !end.Before(scope) {
			require.Equal(t, later(scope, end.Add(-15*time.Minute)), after.through)
		}
	}
}

// randomPart is what a sync that was interrupted leaves of the windows.
func randomPart(rng *rand.Rand, ws []window) (left []window) {
	for _, w := range ws {
		if part := rng.Float64(); part > 0.2 {
			left = append(left, window{w.start, w.start.Add(time.Duration(part * float64(w.length())))})
		}
	}
	return union(left)
}

func TestPlanReadsWindowsThatTouchAtOnce(t *testing.T) {
	now := at(1e6)
	interrupted := owed{[]window{{at(9e5), at(99e4)}}, at(99e4)}
	p := interrupted.plan(now, now, time.Hour)
	require.Equal(t, []window{{at(9e5), at(99e4)}, {now.Add(-time.Hour), now.Add(1)}}, p.todo, "an open window is owed, whatever the lookback")
	require.Equal(t, window{at(99e4), now.Add(-time.Hour)}, p.outside)
	p = interrupted.plan(now, now, 7*24*time.Hour)
	require.Equal(t, []window{{at(9e5), now.Add(1)}}, p.todo)
	require.True(t, p.outside.empty())
}
