package cloudtrail

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// expiryWindow is how long before their end credentials are renewed, so that
// none expires in the middle of a request. It is well below the shortest
// session, 15 minutes.
const expiryWindow = 5 * time.Minute

// credentialCache caches what a provider gives: the base credentials, or those of a
// role, assumed from other ones. It is safe for concurrent use; requests that
// need renewing at the same time share one call.
//
// aws.CredentialsCache doesn't do here: it goes on calling STS, in a goroutine
// of its own, after the context ended; it forgets good credentials when it can't
// renew them early; and it can't tell whether what failed was renewed since.
type credentialCache struct {
	from     *credentialCache // what the role is assumed with; nil: these are the base credentials
	name     string           // for errors
	provider aws.CredentialsProvider
	cached   bool          // the provider is a cache itself
	busy     chan struct{} // holds one element while the provider is asked

	mu      sync.Mutex
	current aws.Credentials
	renewAt time.Time
	since   time.Time // when current was retrieved, or dropped
	err     error     // of the last retrieval, which ended at failed
	failed  time.Time
}

func newCredentialCache(from *credentialCache, name string, p aws.CredentialsProvider) *credentialCache {
	_, cached := p.(interface{ Invalidate() })
	return &credentialCache{from: from, name: name, provider: p, cached: cached, busy: make(chan struct{}, 1)}
}

// Retrieve implements aws.CredentialsProvider.
func (c *credentialCache) Retrieve(ctx context.Context) (aws.Credentials, error) {
	asked := time.Now()
	if creds, ok := c.fresh(asked); ok {
		return creds, nil
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return aws.Credentials{}, ctx.Err()
	}
	if creds, ok := c.fresh(time.Now()); ok {
		return creds, nil
	}
	if err := c.failedSince(asked); err != nil {
		return aws.Credentials{}, err
	}
	creds, err := c.provider.Retrieve(ctx)
	return c.store(creds, err, ctx.Err() != nil)
}

// fresh returns the cached credentials if they are good for another while.
func (c *credentialCache) fresh(now time.Time) (aws.Credentials, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := !c.cached && c.current.HasKeys() && (!c.current.CanExpire || now.Before(c.renewAt))
	return c.current, ok
}

// failedSince returns the error of a retrieval that ended after t: whoever
// waited for it gets its outcome instead of asking again.
func (c *credentialCache) failedSince(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed.After(t) {
		return c.err
	}
	return nil
}

// store keeps the outcome of a retrieval and returns what to use from now on.
func (c *credentialCache) store(creds aws.Credentials, err error, stopped bool) (aws.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if err != nil {
		if c.from == nil {
			err = &credentialsError{err}
		}
		if !c.cached && c.current.HasKeys() && now.Before(c.current.Expires) {
			c.renewAt = now.Add(expiryWindow / 10) // STS may be back before they end
			return c.current, nil
		}
		if !stopped { // else the failure is this caller's own
			c.err, c.failed = err, now
		}
		return aws.Credentials{}, err
	}
	if creds.AccessKeyID != c.current.AccessKeyID || creds.SessionToken != c.current.SessionToken {
		c.since = now
	}
	c.current = creds
	if creds.CanExpire {
		early := min(expiryWindow, creds.Expires.Sub(now)/4)
		// Jittered, so that the sessions of many accounts aren't renewed together.
		c.renewAt = creds.Expires.Add(-early + time.Duration(rand.Float64()*float64(early)/5))
	}
	return creds, nil
}

// renew drops the credentials, unless that was done after the given time.
func (c *credentialCache) renew(used time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.After(used) {
		return
	}
	c.current, c.since = aws.Credentials{}, time.Now()
	if cache, ok := c.provider.(interface{ Invalidate() }); ok {
		cache.Invalidate()
	}
}
