package cloudtrail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// Whatever the JSON, only texts of that name are emptied, and everything that
// isn't JSON is left alone as far as it goes.
func FuzzEmptyCloudTrailEvents(f *testing.F) {
	for _, seed := range []string{
		`{"Events":[{"CloudTrailEvent":"{\"a\\\"b\":\"\\\\\"}","EventName":"CloudTrailEvent","EventId":"q"}]}`,
		`{ "CloudTrailEvent" : "\\" , "x":["CloudTrailEvent","y"]}`, `{"CloudTrailEvent":null,"CloudTrailEvent":5}`, `"CloudTrailEvent":"`, `<html>`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		var want, got any
		valid := json.Unmarshal(page, &want) == nil
		escapedName := bytes.Contains(page, []byte(`\u`)) // no server writes the name so
		out := emptyCloudTrailEvents(bytes.Clone(page))
		if valid && !escapedName {
			require.NoError(t, json.Unmarshal(out, &got))
			require.Equal(t, emptied(want), got)
		}
	})
}

// The text of an error reaches us in either spelling: it tells a service control
// policy from any other denial.
func TestErrorTexts(t *testing.T) {
	for _, code := range []string{"AccessDeniedException", "ThrottlingException", "UnrecognizedClientException", "SomethingNew"} {
		for _, name := range []string{"message", "Message"} {
			t.Run(code+"/"+name, func(t *testing.T) {
				body := fmt.Sprintf(`{"__type":%q, %q : "a \"message\""}`, code, name)
				err := lookupAnswer(t, http.StatusBadRequest, body)
				var api smithy.APIError
				require.ErrorAs(t, err, &api)
				require.Equal(t, code, api.ErrorCode())
				require.Equal(t, `a "message"`, api.ErrorMessage())
			})
		}
	}
}

// A success that holds no page isn't one: the paging would end there.
func TestSuccessWithoutPage(t *testing.T) {
	for _, body := range []string{``, `{"__type":"InternalFailure"}`, `{"__type":"ThrottlingException","message":"slow down"}`} {
		require.ErrorIs(t, lookupAnswer(t, http.StatusOK, body), errNoPage)
	}
	for _, body := range []string{`{}`, `{"Events":[]}`, `{"Events":[{"EventName":"\"__type\""}]}`} {
		require.NoError(t, lookupAnswer(t, http.StatusOK, body))
	}
}

// An error whose text breaks off isn't told: the next attempt may tell.
func TestErrorThatBreaksOff(t *testing.T) {
	err := lookupReader(t, http.StatusBadRequest, io.MultiReader(strings.NewReader(`{"__type":"Thrott`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, transient, classify(err))
}

// lookupAnswer has the SDK's client read an answer.
func lookupAnswer(t *testing.T, status int, body string) error {
	t.Helper()
	return lookupReader(t, status, strings.NewReader(body))
}

func lookupReader(t *testing.T, status int, body io.Reader) error {
	t.Helper()
	cfg := cloudtrailtest.New().AWSConfig("us-east-1")
	cfg.HTTPClient = smithyhttp.ClientDoFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}, nil
	})
	_, err := newClient(cfg, "us-east-1", false).LookupEvents(t.Context(), &awscloudtrail.LookupEventsInput{})
	return err
}

func emptied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if _, ok := x.(string); ok && k == "CloudTrailEvent" {
				v[k] = ""
			} else {
				v[k] = emptied(x)
			}
		}
	case []any:
		for i := range v {
			v[i] = emptied(v[i])
		}
	}
	return v
}
