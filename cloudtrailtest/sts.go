package cloudtrailtest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The limits of AssumeRole.
const (
	minSession   = 900
	maxSession   = 43200
	chainSession = 3600 // of a session that was got with a role's session
)

var (
	roleARNPattern     = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::(\d{12}):role/(.+)$`)
	sessionNamePattern = regexp.MustCompile(`^[\w+=,.@-]*$`)
	externalIDPattern  = regexp.MustCompile(`^[\w+=,.@:/-]*$`)
)

// serveSTS answers an authenticated request to STS, in the Region that it was
// signed for.
func (f *Fake) serveSTS(r *http.Request, body []byte, who *session, regionName string) (answer, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return f.queryError(apiError{http.StatusBadRequest, "MalformedQueryString", "The query string is malformed"}), nil
	}
	action := form.Get("Action")
	region := who.account.Region(regionName)
	f.stats.sts(action)
	region.stats.sts(action)
	fault := f.faults.next(Call{Service: "sts", Action: action, AccountID: who.account.id, Region: regionName, Caller: who.arn, Form: form})
	if err := fault.wait(r.Context(), 0); err != nil {
		return answer{}, err
	}
	if a, ok := fault.instead(f.queryFault); ok {
		return a, nil
	}

	var a answer
	switch action {
	case "AssumeRole":
		a = f.assumeRole(who, form, time.Now())
	case "GetCallerIdentity":
		a = f.queryAnswer(getCallerIdentityResponse{
			Arn: who.arn, UserID: who.userID, Account: who.account.id, RequestID: f.requestID(),
		})
	default:
		a = f.queryError(apiError{http.StatusBadRequest, "InvalidAction", "Could not find operation " + action + " for version 2011-06-15"})
	}
	if fault.is(cuts) {
		a.end = cut
	}
	return a, nil
}

// assumeRole checks what is asked for, then whether it is allowed, and makes a
// session.
func (f *Fake) assumeRole(who *session, form url.Values, now time.Time) answer {
	arn, name, externalID := form.Get("RoleArn"), form.Get("RoleSessionName"), form.Get("ExternalId")
	seconds, refused := checkAssumeRole(arn, name, externalID, form.Has("ExternalId"), form.Get("DurationSeconds"))
	if refused == "" && who.roleARN != "" && seconds > chainSession {
		refused = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
	}
	if refused != "" {
		return f.queryError(apiError{http.StatusBadRequest, "ValidationError", refused})
	}

	parts := roleARNPattern.FindStringSubmatch(arn)
	partition, id, roleName := parts[1], parts[2], parts[3]
	f.mu.RLock()
	account := f.accounts[id]
	f.mu.RUnlock()
	var role Role
	known := false
	if account != nil {
		role, known = account.role(roleName)
	}
	if !known || !role.allows(who, externalID) { // AWS doesn't tell which
		return f.queryError(apiError{http.StatusForbidden, "AccessDenied",
			fmt.Sprintf("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", who.arn, arn)})
	}
	asked := time.Duration(seconds) * time.Second
	if asked > role.MaxSession {
		return f.queryError(apiError{http.StatusBadRequest, "ValidationError",
			"The requested DurationSeconds exceeds the MaxSessionDuration set for this role."})
	}

	lifetime := asked
	if role.Lifetime > 0 {
		lifetime = role.Lifetime
	}
	baseName := roleName[strings.LastIndex(roleName, "/")+1:]
	s := &session{
		account: account,
		arn:     "arn:" + partition + ":sts::" + id + ":assumed-role/" + baseName + "/" + name,
		userID:  "AROA" + letters(id+roleName, 17) + ":" + name,
		roleARN: arn,
		expires: now.Add(lifetime),
	}
	f.mu.Lock()
	f.sessions++
	seed := strconv.FormatUint(f.sessions, 10)
	key := "ASIA" + letters("key"+seed, 16)
	s.secret = strings.ToLower(letters("secret"+seed, 40))
	s.token = "FwoGZXIvYXdzE" + letters("token"+seed, 48) + letters("more"+seed, 48)
	f.keys[key] = s
	f.mu.Unlock()
	return f.queryAnswer(assumeRoleResponse{
		AccessKeyID:     key,
		SecretAccessKey: s.secret,
		SessionToken:    s.token,
		Expiration:      now.Add(asked).UTC().Format("2006-01-02T15:04:05Z"),
		Arn:             s.arn,
		AssumedRoleID:   s.userID,
		RequestID:       f.requestID(),
	})
}

// checkAssumeRole returns the session's seconds, or what is wrong with the
// parameters.
func checkAssumeRole(arn, name, externalID string, hasExternalID bool, duration string) (seconds int, refused string) {
	constraint := func(value, field, must string) (int, string) {
		return 0, fmt.Sprintf("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, field, must)
	}
	switch {
	case len(arn) < 20:
		return constraint(arn, "roleArn", "have length greater than or equal to 20")
	case !roleARNPattern.MatchString(arn):
		return 0, arn + " is invalid"
	case len(name) < 2:
		return constraint(name, "roleSessionName", "have length greater than or equal to 2")
	case len(name) > 64:
		return constraint(name, "roleSessionName", "have length less than or equal to 64")
	case !sessionNamePattern.MatchString(name):
		return constraint(name, "roleSessionName", `satisfy regular expression pattern: [\w+=,.@-]*`)
	case hasExternalID && len(externalID) < 2:
		return constraint(externalID, "externalId", "have length greater than or equal to 2")
	case len(externalID) > 1224:
		return constraint(externalID, "externalId", "have length less than or equal to 1224")
	case !externalIDPattern.MatchString(externalID):
		return constraint(externalID, "externalId", `satisfy regular expression pattern: [\w+=,.@:\/-]*`)
	}
	if duration == "" {
		return chainSession, ""
	}
	seconds, err := strconv.Atoi(duration)
	switch {
	case err != nil:
		return constraint(duration, "durationSeconds", "be an integer")
	case seconds < minSession:
		return constraint(duration, "durationSeconds", "have value greater than or equal to 900")
	case seconds > maxSession:
		return constraint(duration, "durationSeconds", "have value less than or equal to 43200")
	}
	return seconds, ""
}

type assumeRoleResponse struct {
	XMLName         xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	AccessKeyID     string   `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	SecretAccessKey string   `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
	SessionToken    string   `xml:"AssumeRoleResult>Credentials>SessionToken"`
	Expiration      string   `xml:"AssumeRoleResult>Credentials>Expiration"`
	Arn             string   `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	AssumedRoleID   string   `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	RequestID       string   `xml:"ResponseMetadata>RequestId"`
}

type getCallerIdentityResponse struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	Arn       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type errorResponse struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func (f *Fake) queryAnswer(response any) answer {
	body, err := xml.Marshal(response)
	if err != nil {
		panic(err) // strings only
	}
	return answer{status: http.StatusOK, contentType: "text/xml", body: body}
}

func (f *Fake) queryError(e apiError) answer {
	response := errorResponse{Type: "Sender", Code: e.code, Message: e.message, RequestID: f.requestID()}
	if e.status >= 500 {
		response.Type = "Receiver"
	}
	a := f.queryAnswer(response)
	a.status = e.status
	return a
}

// queryFault is queryError with a fault's code in the form that STS uses.
func (f *Fake) queryFault(e apiError) answer {
	switch e.code {
	case "ThrottlingException":
		e.code = "Throttling"
	case "ExpiredTokenException":
		e.status, e.code = http.StatusForbidden, "ExpiredToken"
	}
	return f.queryError(e)
}
