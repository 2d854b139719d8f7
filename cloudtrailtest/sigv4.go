package cloudtrailtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// signatureAge is how far a request's date may be off.
const signatureAge = 5 * time.Minute

const (
	algorithm  = "AWS4-HMAC-SHA256"
	amzDate    = "20060102T150405Z"
	scopeEnd   = "aws4_request"
	badToken   = "The security token included in the request is invalid"
	tokenEnded = "The security token included in the request is expired"
)

// credentialScope is whom and what a signature is for.
type credentialScope struct{ key, date, region, service string }

// apiError is an error as a service answers it.
type apiError struct {
	status  int
	code    string
	message string
}

// refusal is an error of the front end that checks signatures. It has one code
// for services that speak JSON and another for those that speak Query.
type refusal struct{ json, query, message string }

func (r *refusal) forJSON() apiError  { return apiError{http.StatusBadRequest, r.json, r.message} }
func (r *refusal) forQuery() apiError { return apiError{http.StatusForbidden, r.query, r.message} }

func unknownKey() *refusal {
	return &refusal{"UnrecognizedClientException", "InvalidClientTokenId", badToken + "."}
}

func incomplete(format string, args ...any) *refusal {
	return &refusal{"IncompleteSignatureException", "IncompleteSignature", fmt.Sprintf(format, args...)}
}

func wrongSignature(format string, args ...any) *refusal {
	return &refusal{"InvalidSignatureException", "SignatureDoesNotMatch", fmt.Sprintf(format, args...)}
}

// authenticate finds out whose request this is: it signs it again, as its
// Authorization header says, and compares.
func (f *Fake) authenticate(r *http.Request, body []byte, now time.Time) (*session, credentialScope, *refusal) {
	var scope credentialScope
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, scope, &refusal{"MissingAuthenticationTokenException", "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	scope, signedHeaders, signature, ok := parseAuthorization(header)
	if !ok {
		return nil, scope, incomplete("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.")
	}
	date, err := time.Parse(amzDate, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, scope, incomplete("Date must be in ISO-8601 'basic format'. Got '%s'.", r.Header.Get("X-Amz-Date"))
	}

	f.mu.RLock()
	who, ok := f.keys[scope.key]
	f.mu.RUnlock()
	if !ok || subtle.ConstantTimeCompare([]byte(who.token), []byte(r.Header.Get("X-Amz-Security-Token"))) == 0 {
		return nil, scope, unknownKey()
	}
	if scope.service != "cloudtrail" && scope.service != "sts" {
		return nil, scope, wrongSignature("Credential should be scoped to correct service: 'cloudtrail' or 'sts'.")
	}
	if isSTS := r.Header.Get("X-Amz-Target") == ""; isSTS != (scope.service == "sts") {
		return nil, scope, wrongSignature("Credential should be scoped to correct service.")
	}
	if age := now.Sub(date); age > signatureAge || age < -signatureAge {
		return nil, scope, wrongSignature("%s", dateMessage(date, now))
	}
	if scope.date != date.Format("20060102") {
		return nil, scope, wrongSignature("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'.", scope.date, date.Format("20060102"))
	}
	if !f.signedBy(who, r, body, scope, signedHeaders, signature, date) {
		return nil, scope, wrongSignature("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	if !who.expires.IsZero() && !now.Before(who.expires) {
		return nil, scope, &refusal{"ExpiredTokenException", "ExpiredToken", tokenEnded}
	}
	if !who.account.Region(scope.region).isEnabled() {
		if scope.service == "cloudtrail" { // counted like any other request of the Region
			who.account.Region(scope.region).stats.refused()
		}
		return nil, scope, unknownKey()
	}
	return who, scope, nil
}

// parseAuthorization takes an Authorization header apart.
func parseAuthorization(header string) (scope credentialScope, signedHeaders []string, signature string, ok bool) {
	rest, ok := strings.CutPrefix(header, algorithm)
	if !ok {
		return scope, nil, "", false
	}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "Credential":
			fields := strings.Split(value, "/")
			if len(fields) != 5 || fields[4] != scopeEnd {
				return scope, nil, "", false
			}
			scope = credentialScope{key: fields[0], date: fields[1], region: fields[2], service: fields[3]}
		case "SignedHeaders":
			signedHeaders = strings.Split(value, ";")
		case "Signature":
			signature = value
		}
	}
	return scope, signedHeaders, signature, scope.key != "" && scope.region != "" && len(signedHeaders) > 0 && signature != ""
}

// signedBy reports whether the request carries the signature that the key's
// owner would make of it. Only headers named as signed take part.
func (f *Fake) signedBy(who *session, r *http.Request, body []byte, scope credentialScope, signedHeaders []string, signature string, date time.Time) bool {
	url := *r.URL
	again := &http.Request{Method: r.Method, URL: &url, Host: r.Host, Header: make(http.Header)}
	for _, name := range signedHeaders {
		if name == "content-length" {
			again.ContentLength = int64(len(body))
		} else if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	again.Header.Del("X-Amz-Security-Token") // the signer sets both
	again.Header.Del("X-Amz-Date")
	key := aws.Credentials{AccessKeyID: scope.key, SecretAccessKey: who.secret, SessionToken: who.token}
	hash := sha256.Sum256(body)
	if err := f.signer.SignHTTP(r.Context(), key, again, hex.EncodeToString(hash[:]), scope.service, scope.region, date); err != nil {
		return false
	}
	_, _, want, _ := parseAuthorization(again.Header.Get("Authorization"))
	return subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1
}

// dateMessage is what AWS says of a date that is too far off.
func dateMessage(date, now time.Time) string {
	when, limit := "Signature expired: %s is now earlier than %s (%s - 5 min.)", now.Add(-signatureAge)
	if date.After(now) {
		when, limit = "Signature not yet current: %s is still later than %s (%s + 5 min.)", now.Add(signatureAge)
	}
	return fmt.Sprintf(when, date.Format(amzDate), limit.UTC().Format(amzDate), now.UTC().Format(amzDate))
}
