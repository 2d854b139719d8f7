package cloudtrailtest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Call is a request that SetFault's function is asked about.
type Call struct {
	Service   string // "cloudtrail" or "sts"
	Action    string // such as "LookupEvents"
	AccountID string // of the caller's credentials
	Region    string // that the request was signed for
	Caller    string // ARN of the caller
	N         int    // 1 and up, per account, Region and service
	Input     LookupInput
	Form      url.Values // of an STS request: its parameters
}

// Fault is an answer other than the usual one. It wins over the quota, of which
// it uses as much as an answer does, and comes after the Region's latency
// (except Throttling, which does neither).
type Fault struct {
	Delay time.Duration // passes in addition, before anything is answered

	kind kind
	err  apiError
	body []byte
}

// kind says what a fault does.
type kind int

const (
	none kind = iota
	throttles
	fails    // an API error
	replaces // the whole answer
	resets   // the connection
	cuts     // the usual answer in its middle
	silences // everything
	expires  // the caller's session
	emptiesPage
	repeatsToken
	repeatsLast
)

var rateExceeded = apiError{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"}

// Throttling refuses the request at once: 400 ThrottlingException (Throttling
// for STS). It uses no quota.
func Throttling() *Fault { return &Fault{kind: throttles} }

// Error answers with an API error in the service's own form.
func Error(status int, code, message string) *Fault {
	return &Fault{kind: fails, err: apiError{status, code, message}}
}

// Status answers with a bare status and no body, such as 429 or 502.
func Status(status int) *Fault { return Answer(status, nil) }

// Answer answers with these bytes.
func Answer(status int, body []byte) *Fault {
	return &Fault{kind: replaces, err: apiError{status: status}, body: slices.Clone(body)}
}

// EmptyBody answers 200 without a body.
func EmptyBody() *Fault { return Answer(http.StatusOK, nil) }

// Garbage answers 200 with a body that neither service could have sent.
func Garbage() *Fault { return Answer(http.StatusOK, []byte("\x00\xff{\"Events\":[{<html>")) }

// Reset breaks the connection before any header.
func Reset() *Fault { return &Fault{kind: resets} }

// Cut breaks the connection in the middle of the body of the usual answer.
func Cut() *Fault { return &Fault{kind: cuts} }

// Silence answers nothing until the request's context ends. Without a deadline
// that is never.
func Silence() *Fault { return &Fault{kind: silences} }

// Slow answers as usual after another d; unlike other faults it leaves
// throttling to the quota.
func Slow(d time.Duration) *Fault { return &Fault{Delay: d} }

// ExpiredSession refuses the caller's credentials: ExpiredTokenException
// (ExpiredToken for STS).
func ExpiredSession() *Fault { return &Fault{kind: expires} }

// StaleToken answers InvalidNextTokenException.
func StaleToken() *Fault { return &Fault{kind: fails, err: invalidNextToken} }

// RepeatToken answers LookupEvents as usual, but hands out the NextToken that
// the request sent. STS, and requests that sent none, are answered as usual.
func RepeatToken() *Fault { return &Fault{kind: repeatsToken} }

// EmptyPage answers LookupEvents without an event, and with a NextToken from
// which it goes on where this request would have. STS is answered as usual.
func EmptyPage() *Fault { return &Fault{kind: emptiesPage} }

// RepeatLast answers LookupEvents with the last event of the page before, and
// those that follow it. STS, and a first page, are answered as usual.
func RepeatLast() *Fault { return &Fault{kind: repeatsLast} }

// is also works for no fault at all, whose kind is none.
func (f *Fault) is(k kind) bool {
	if f == nil {
		return k == none
	}
	return f.kind == k
}

// wait lets the request take that long and the fault's own time, which is for
// ever where it is silence.
func (f *Fault) wait(ctx context.Context, latency time.Duration) error {
	if f != nil {
		latency += f.Delay
	}
	var over <-chan time.Time
	switch {
	case f.is(silences):
	case latency <= 0:
		return ctx.Err()
	default:
		timer := time.NewTimer(latency)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// instead returns what is answered instead of the usual, for faults that
// replace it. In a service that speaks Query, codes are of that kind.
func (f *Fault) instead(render func(apiError) answer) (answer, bool) {
	switch {
	case f.is(fails):
		return render(f.err), true
	case f.is(expires):
		return render(apiError{http.StatusBadRequest, "ExpiredTokenException", tokenEnded}), true
	case f.is(throttles):
		return render(rateExceeded), true
	case f.is(replaces):
		return answer{status: f.err.status, body: f.body}, true
	case f.is(resets):
		return answer{end: reset}, true
	}
	return answer{}, false
}

// faults numbers calls and asks about them, one at a time.
type faults struct {
	ask   atomic.Pointer[func(Call) *Fault]
	mu    sync.Mutex
	calls map[[3]string]int
}

func (f *faults) next(c Call) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = make(map[[3]string]int)
	}
	key := [3]string{c.AccountID, c.Region, c.Service}
	f.calls[key]++
	c.N = f.calls[key]
	if ask := f.ask.Load(); ask != nil {
		return (*ask)(c)
	}
	return nil
}
