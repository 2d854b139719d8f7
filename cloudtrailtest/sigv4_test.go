package cloudtrailtest_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/assert"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func TestSignatures(t *testing.T) {
	for name, test := range map[string]struct {
		cfg       func(aws.Config) aws.Config
		json, xml string
		text      string
	}{
		"right": {func(c aws.Config) aws.Config { return c }, "", "", ""},
		"unknown key": {func(c aws.Config) aws.Config { return withKey(c, "AKIAX", "x", "") },
			"UnrecognizedClientException", "InvalidClientTokenId", "security token included in the request is invalid"},
		"wrong secret": {func(c aws.Config) aws.Config { return withKey(c, cloudtrailtest.AccessKeyID, "x", "") },
			"InvalidSignatureException", "SignatureDoesNotMatch", "does not match the signature you provided"},
		"token too many": {func(c aws.Config) aws.Config {
			return withKey(c, cloudtrailtest.AccessKeyID, cloudtrailtest.SecretAccessKey, "token")
		}, "UnrecognizedClientException", "InvalidClientTokenId", "invalid"},
		"session": {func(c aws.Config) aws.Config { return withKey(c, "ASIASESSION", "secret", "token") }, "", "", ""},
		"session without its token": {func(c aws.Config) aws.Config { return withKey(c, "ASIASESSION", "secret", "") },
			"UnrecognizedClientException", "InvalidClientTokenId", "invalid"},
		"expired session": {func(c aws.Config) aws.Config { return withKey(c, "ASIAEXPIRED", "secret", "token") },
			"ExpiredTokenException", "ExpiredToken", "expired"},
		"anonymous": {func(c aws.Config) aws.Config { c.Credentials = aws.AnonymousCredentials{}; return c },
			"MissingAuthenticationTokenException", "MissingAuthenticationToken", "missing Authentication Token"},
		"tampered": {alter(func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }),
			"InvalidSignatureException", "SignatureDoesNotMatch", "does not match"},
		"another Region": {alter(func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", "us-west-2", 1))
		}), "InvalidSignatureException", "SignatureDoesNotMatch", "does not match"},
		"another service": {alter(func(r *http.Request) {
			r.Header.Set("Authorization", strings.NewReplacer("/cloudtrail/", "/sts/", "/sts/", "/cloudtrail/").Replace(r.Header.Get("Authorization")))
		}), "InvalidSignatureException", "SignatureDoesNotMatch", "correct service"},
		"no service": {alter(func(r *http.Request) {
			r.Header.Set("Authorization", strings.NewReplacer("/cloudtrail/", "/s3/", "/sts/", "/s3/").Replace(r.Header.Get("Authorization")))
		}), "InvalidSignatureException", "SignatureDoesNotMatch", "correct service"},
		"header in pieces": {alter(func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b") }),
			"IncompleteSignatureException", "IncompleteSignature", "requires"},
		"no date": {alter(func(r *http.Request) { r.Header.Del("X-Amz-Date") }),
			"IncompleteSignatureException", "IncompleteSignature", "Date must be"},
		"clock 4 minutes slow": {shift(-4 * time.Minute), "", "", ""},
		"clock 4 minutes fast": {shift(4 * time.Minute), "", "", ""},
		"clock 6 minutes slow": {shift(-6 * time.Minute), "InvalidSignatureException", "SignatureDoesNotMatch", "Signature expired"},
		"clock 6 minutes fast": {shift(6 * time.Minute), "InvalidSignatureException", "SignatureDoesNotMatch", "not yet current"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, r := home()
				time.Sleep(12 * time.Hour) // noon: shifts stay within the day
				f.Account(cloudtrailtest.AccountID).AddSession("ASIASESSION", "secret", "token", time.Time{})
				f.Account(cloudtrailtest.AccountID).AddSession("ASIAEXPIRED", "secret", "token", time.Now())
				cfg := test.cfg(f.AWSConfig(region))
				_, err := client(cfg).LookupEvents(t.Context(), nil)
				assert.Equal(t, test.json, code(err), "%v", err)
				_, stsErr := stsClient(cfg).GetCallerIdentity(t.Context(), nil)
				assert.Equal(t, test.xml, code(stsErr), "%v", stsErr)
				for _, err := range []error{err, stsErr} {
					if test.json != "" {
						assert.ErrorContains(t, err, test.text)
					}
				}
				assert.Equal(t, test.json == "", r.Stats().Requests == 1)
				assert.Equal(t, 1, f.Stats().Requests)
			})
		})
	}
}

// alter changes requests after they were signed.
func alter(change func(*http.Request)) func(aws.Config) aws.Config {
	return func(cfg aws.Config) aws.Config {
		cfg.HTTPClient = altered{cfg.HTTPClient, change}
		return cfg
	}
}

type altered struct {
	aws.HTTPClient
	change func(*http.Request)
}

func (a altered) Do(r *http.Request) (*http.Response, error) {
	a.change(r)
	return a.HTTPClient.Do(r)
}

// shift signs requests again as a client would whose clock is that much off.
func shift(by time.Duration) func(aws.Config) aws.Config {
	signer := v4.NewSigner()
	return alter(func(r *http.Request) {
		service, hash := "sts", "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843" // Action=GetCallerIdentity&Version=2011-06-15
		if r.Header.Get("X-Amz-Target") != "" {
			service, hash = "cloudtrail", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // {}
		}
		r.Header.Del("Authorization")
		key := aws.Credentials{AccessKeyID: cloudtrailtest.AccessKeyID, SecretAccessKey: cloudtrailtest.SecretAccessKey}
		if err := signer.SignHTTP(r.Context(), key, r, hash, service, region, time.Now().Add(by)); err != nil {
			panic(err)
		}
	})
}
