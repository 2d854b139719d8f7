package cloudtrail

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

var errAny = errors.New("any")

// issuer gives numbered credentials of an hour, each after a second.
type issuer struct {
	n   int
	err error
}

func (i *issuer) Retrieve(ctx context.Context) (aws.Credentials, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return aws.Credentials{}, ctx.Err()
	}
	i.n++
	return aws.Credentials{AccessKeyID: strconv.Itoa(i.n), SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(time.Hour)}, i.err
}

func TestCredentialsCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &issuer{}
		c := newCredentialCache(newCredentialCache(nil, "", p), "", p)
		get := func() string {
			creds, err := c.Retrieve(t.Context())
			require.NoError(t, err)
			return creds.AccessKeyID
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { assert.Equal(t, "1", get()) })
		}
		group.Wait()

		time.Sleep(54 * time.Minute)
		assert.Equal(t, "1", get())
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "2", get(), "renewed 4 to 5 minutes before the end")

		p.err = errAny
		time.Sleep(57 * time.Minute)
		assert.Equal(t, "2", get(), "still good though they can't be renewed now")
		assert.Equal(t, 3, p.n)
		assert.Equal(t, "2", get())
		assert.Equal(t, 3, p.n, "nor is that tried for every request")
		time.Sleep(time.Minute)
		get()
		assert.Equal(t, 4, p.n)
		time.Sleep(5 * time.Minute)
		_, err := c.Retrieve(t.Context())
		assert.ErrorIs(t, err, errAny)
	})
}

func TestCredentialsFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &issuer{err: errAny}
		c := newCredentialCache(nil, "", p)
		short, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := c.Retrieve(short)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		for range 8 {
			group.Go(func() {
				_, err := c.Retrieve(t.Context())
				assert.ErrorIs(t, err, errAny, "not the first one's deadline")
			})
		}
		group.Wait()
		assert.Equal(t, 1, p.n)
	})
}

func TestRenewOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		arn := fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "r"})
		called := watch(fake, nil)
		c, err := New(t.Context(), Config{AssumeRoleARN: arn, DefaultRegion: "us-east-1"}, WithAWSConfig(fake.AWSConfig("")))
		require.NoError(t, err)
		s := session0(t, c)
		require.NoError(t, s.retrieve(t.Context()))
		called.take()

		for range 3 {
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					used := time.Now()
					time.Sleep(time.Second)
					s.renew(used)
					time.Sleep(time.Second)
					require.NoError(t, s.retrieve(t.Context()))
				})
			}
			group.Wait()
			assert.Len(t, called.take(), 1)
		}
	})
}

// A host's or the SDK's own cache is never cached again, but dropped with ours.
func TestCredentialsOfACache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &issuer{}
		cache := aws.NewCredentialsCache(p)
		c := newCredentialCache(nil, "", cache)
		get := func() string {
			creds, err := c.Retrieve(t.Context())
			require.NoError(t, err)
			return creds.AccessKeyID
		}
		assert.Equal(t, "1", get())
		cache.Invalidate() // by the host
		assert.Equal(t, "2", get())
		time.Sleep(time.Second)
		used := time.Now()
		time.Sleep(time.Second)
		c.renew(used)
		assert.Equal(t, "3", get())
		c.renew(used)
		assert.Equal(t, "3", get())
	})
}
