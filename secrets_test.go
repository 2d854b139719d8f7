package cloudtrail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// The secrets that are planted in the settings, or in the environment.
const (
	plantedKey    = "AKIAPLANTEDPLANTED77"
	plantedSecret = "planted/Secret+wJalrXUtnFEMI7777777777"
	plantedToken  = "plantedSessionToken//FwoGZXIvYXdzE+77=="
	plantedID     = "planted-external-id-77"
)

// wiretap notes the session tokens that go over the wire, those of roles too,
// and may answer as AWS does to a bad signature: with all that was signed.
type wiretap struct {
	http.RoundTripper
	quote string // the service whose requests are answered so; "": none

	mu     sync.Mutex
	tokens map[string]bool
}

func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	if token := r.Header.Get("X-Amz-Security-Token"); token != "" {
		w.tokens[token] = true
	}
	w.mu.Unlock()
	service := "cloudtrail"
	if r.Header.Get("X-Amz-Target") == "" {
		service = "sts"
	}
	if service != w.quote {
		return w.RoundTripper.RoundTrip(r)
	}
	var signed strings.Builder
	for name, values := range r.Header {
		if name != "Authorization" { // it has the signature, and the key's id
			fmt.Fprintf(&signed, "%s:%s\\n", strings.ToLower(name), strings.Join(values, ","))
		}
	}
	message := "The request signature we calculated does not match. The Canonical String for this request should have been\\n'POST\\n/\\n\\n" + signed.String() + "'"
	body := `{"__type":"InvalidSignatureException","message":"` + message + `"}`
	if service == "sts" {
		body = "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>" + message + "</Message></Error></ErrorResponse>"
	}
	return &http.Response{StatusCode: 403, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// output is everything that the connector ever gives out.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) add(values ...any) {
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(o, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			_, _ = o.Write(b)
		}
		if err, ok := v.(error); ok {
			o.tree(err)
		}
	}
}

// tree adds what lies under an error's text.
func (o *output) tree(err error) {
	fmt.Fprintf(o, "%v\n%+v\n", err, err)
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			o.tree(inner)
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			o.tree(inner)
		}
	}
}

// Secrets are in no error, log line, token, record or value, whatever fails.
func TestSecretsStayInside(t *testing.T) {
	faults := map[string]func() *cloudtrailtest.Fault{"none": nil, "expired": cloudtrailtest.ExpiredSession}
	for name, f := range transientFaults {
		faults[name] = f.fault
	}
	for name, f := range fatalFaults {
		faults[name] = f.fault
	}
	for _, quote := range []string{"cloudtrail", "sts"} {
		faults["bad signature of "+quote] = nil
	}
	for name, fault := range faults {
		for _, service := range []string{"cloudtrail", "sts"} {
			for _, from := range []string{"settings", "environment"} {
				t.Run(name+"/"+service+"/"+from, func(t *testing.T) {
					isolateAWS(t)
					quote, _ := strings.CutPrefix(name, "bad signature of ")
					synctest.Test(t, func(t *testing.T) { testSecrets(t, from, service, quote, fault) })
				})
			}
		}
	}
}

func testSecrets(t *testing.T, from, service, quote string, fault func() *cloudtrailtest.Fault) {
	fake := cloudtrailtest.New()
	fake.Account(cloudtrailtest.AccountID).AddSession(plantedKey, plantedSecret, plantedToken, time.Time{})
	tap := &wiretap{RoundTripper: fake, tokens: map[string]bool{}}
	if quote == "cloudtrail" || quote == "sts" {
		tap.quote = quote
	}
	settings := map[string]string{"externalId": plantedID, "regions": "us-east-1,eu-west-1", "maxRetries": "3"}
	settings["assumeRoleArn"] = fake.Account(cloudtrailtest.AccountID).AddRole(cloudtrailtest.Role{Name: "reader", ExternalID: plantedID}) + "," +
		fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "reader", ExternalID: plantedID + "-other"})
	if from == "environment" {
		t.Setenv("AWS_ACCESS_KEY_ID", plantedKey)
		t.Setenv("AWS_SECRET_ACCESS_KEY", plantedSecret)
		t.Setenv("AWS_SESSION_TOKEN", plantedToken)
	} else {
		maps.Copy(settings, map[string]string{"accessKeyId": plantedKey, "secretAccessKey": plantedSecret, "sessionToken": plantedToken})
	}
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		fake.Account(cloudtrailtest.AccountID).Region(region).SetHistory(week(120))
	}
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if fault == nil || c.Service != service || c.N%4 == 1 && service == "cloudtrail" {
			return nil
		}
		return fault()
	})

	var out output
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	cfg, err := ConfigFromSettings(settings)
	require.NoError(t, err)
	for _, opts := range [][]Option{
		{WithLogger(slog.New(slog.NewTextHandler(&out, level)))},
		{WithLogger(slog.New(slog.NewJSONHandler(&out, level))), WithRawEvents()},
	} {
		opts = append(opts, WithAWSConfig(aws.Config{HTTPClient: &http.Client{Transport: tap}, Region: "us-east-1"}), WithObserver(Observer{
			Request: func(r RequestInfo) { out.add(r, r.Err) }, Retry: func(r RetryInfo) { out.add(r, r.Err) }, Progress: func(p Progress) { out.add(p) },
		}))
		c, err := New(t.Context(), cfg, opts...)
		require.NoError(t, err)
		partitions, err := c.Partitions(t.Context())
		require.NoError(t, err)
		out.add(cfg, c, *c, partitions, c.Test(t.Context()))
		res, err := c.Sync(t.Context(), SyncOptions{}, func(_ context.Context, p Page) error {
			out.add(p, p.Token(), p.Records[0])
			return nil
		})
		out.add(res, err, res.Token, res.Token.String())
		for _, p := range res.Partitions {
			out.add(p, p.Err)
		}
		var failed *PartitionError
		if errors.As(err, &failed) {
			out.add(*failed)
		}
	}
	require.True(t, tap.tokens[plantedToken], "it was used")
	for _, secret := range []string{plantedKey, plantedSecret, plantedToken, plantedID} {
		tap.tokens[secret] = true
	}
	all := out.b.String()
	require.Greater(t, len(all), 1000)
	for secret := range tap.tokens {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
			if i := strings.Index(all, form); i >= 0 {
				t.Fatalf("%q in: …%.300s", secret, all[max(0, i-250):])
			}
		}
	}
}
