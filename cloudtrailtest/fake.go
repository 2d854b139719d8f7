// Package cloudtrailtest is a fake CloudTrail and STS for tests and demos: the
// real wire formats, signatures, quotas and limits, and faults on demand.
//
//	fake := cloudtrailtest.New()
//	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").Add(
//		cloudtrailtest.Event{EventID: "1", EventName: "RunInstances", EventTime: time.Now().Add(-time.Hour)})
//	client := awscloudtrail.NewFromConfig(fake.AWSConfig("us-east-1"))
//
// A Fake is an [net/http.RoundTripper]: requests made with its AWSConfig never
// touch the network, start no goroutine and know time only from package time,
// so that inside testing/synctest hours of quota pass in milliseconds. It is an
// [net/http.Handler] too: Start serves it on loopback for any other client.
//
// What it answers is LookupEvents, AssumeRole and GetCallerIdentity, in every
// Region of any number of accounts. Whose history a request reads follows from
// its signature, which is verified.
package cloudtrailtest

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// The account that a new Fake knows, and its long-term key: the examples of
// AWS's documentation.
const (
	AccountID       = "111122223333"
	AccessKeyID     = "AKIAIOSFODNN7EXAMPLE"
	SecretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// Fake is a CloudTrail and STS with any number of accounts and Regions. Make
// one with New. It is safe for concurrent use, and so is everything that it
// hands out.
type Fake struct {
	signer   *v4.Signer
	faults   faults
	stats    counter
	requests atomic.Uint64 // numbers the request ids

	mu       sync.RWMutex
	accounts map[string]*Account
	keys     map[string]*session // by access key id
	sessions uint64              // numbers the sessions that AssumeRole makes
}

// New returns a Fake with one account, AccountID, and its key. Every Region
// that AWS enables by default is enabled, none has an event, and each has
// AWS's own quota and answers at once.
func New() *Fake {
	f := &Fake{
		signer:   v4.NewSigner(),
		accounts: make(map[string]*Account),
		keys:     make(map[string]*session),
	}
	f.Account(AccountID).AddKey(AccessKeyID, SecretAccessKey)
	return f
}

// Account returns the account with that id, twelve digits; it is made at first
// use, without a key.
func (f *Fake) Account(id string) *Account {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.accounts[id]
	if !ok {
		a = &Account{fake: f, id: id, roles: make(map[string]Role), regions: make(map[string]*Region)}
		f.accounts[id] = a
	}
	return a
}

// AWSConfig returns a configuration whose requests go to RoundTrip, with the
// key of AccountID and no retryer of its own. Its clients read no environment.
func (f *Fake) AWSConfig(region string) aws.Config {
	return aws.Config{
		Region:      region,
		Credentials: credentials.NewStaticCredentialsProvider(AccessKeyID, SecretAccessKey, ""),
		HTTPClient:  &http.Client{Transport: f},
	}
}

// SetFault sets what is asked for every CloudTrail and STS request that is
// authenticated and well formed; where it answers nil the request is answered
// as usual. Its calls are serialised, in the order of Call.N. nil removes it.
func (f *Fake) SetFault(fault func(Call) *Fault) {
	if fault == nil {
		f.faults.ask.Store(nil)
		return
	}
	f.faults.ask.Store(&fault)
}

// Stats returns the counts over all accounts and Regions, with the CloudTrail
// requests whose signature was refused.
func (f *Fake) Stats() Stats { return f.stats.snapshot() }

// Stats are the counts of a Fake or a Region.
type Stats struct {
	Requests    int            // LookupEvents that arrived, whatever was answered
	Throttled   int            // those answered with ThrottlingException
	InFlight    int            // those not answered yet
	MaxInFlight int            // the most that InFlight ever was
	Busy        time.Duration  // sum of the time that answered requests were in flight
	STS         map[string]int // authenticated STS requests, by action
}

// counter counts requests. Safe for concurrent use; its zero value is ready.
type counter struct {
	mu sync.Mutex
	s  Stats
}

func (c *counter) arrive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Requests++
	c.s.InFlight++
	c.s.MaxInFlight = max(c.s.MaxInFlight, c.s.InFlight)
}

func (c *counter) leave(after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.InFlight--
	c.s.Busy += after
}

func (c *counter) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Requests++
}

func (c *counter) throttled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Throttled++
}

func (c *counter) sts(action string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.STS == nil {
		c.s.STS = make(map[string]int)
	}
	c.s.STS[action]++
}

func (c *counter) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.STS = make(map[string]int, len(c.s.STS))
	for action, n := range c.s.STS {
		s.STS[action] = n
	}
	return s
}
