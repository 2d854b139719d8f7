package cloudtrailtest

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Account is one AWS account of a Fake.
type Account struct {
	fake *Fake
	id   string

	mu      sync.Mutex
	roles   map[string]Role // by path and name
	regions map[string]*Region
}

// Role is an IAM role that AssumeRole can assume.
type Role struct {
	Name       string        // may have a path ("team/reader") and commas
	Trusts     []string      // account ids, or ARNs of roles or users, that may assume it; empty: everyone
	ExternalID string        // required where it isn't empty
	MaxSession time.Duration // longest session that may be asked for; default 1 h
	// Lifetime, where it is above 0, is when its sessions end, whatever was
	// asked for. The Expiration that AssumeRole reports stays what was asked
	// for, so that a client learns of the end from ExpiredTokenException.
	Lifetime time.Duration
}

// session is one set of credentials: a user's key or a role's session.
type session struct {
	account *Account
	arn     string
	userID  string
	roleARN string // of a role's session, else empty
	secret  string
	token   string
	expires time.Time // zero: never
}

// AddKey gives the account a user with a long-term access key.
func (a *Account) AddKey(id, secret string) {
	a.AddSession(id, secret, "", time.Time{})
}

// AddSession gives the account temporary credentials that end at expires, or
// never where that is zero: what a host would keep as a session token.
func (a *Account) AddSession(id, secret, token string, expires time.Time) {
	a.fake.mu.Lock()
	defer a.fake.mu.Unlock()
	a.fake.keys[id] = &session{
		account: a,
		arn:     "arn:aws:iam::" + a.id + ":user/connector",
		userID:  "AIDA" + letters(a.id+"connector", 17),
		secret:  secret,
		token:   token,
		expires: expires,
	}
}

// AddRole gives the account a role, or replaces the one of that name, and
// returns its ARN. In requests the ARN's partition may be another than aws.
func (a *Account) AddRole(r Role) string {
	r.Name = strings.TrimPrefix(r.Name, "/")
	r.Trusts = slices.Clone(r.Trusts)
	if r.MaxSession == 0 {
		r.MaxSession = time.Hour
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[r.Name] = r
	return "arn:aws:iam::" + a.id + ":role/" + r.Name
}

func (a *Account) role(name string) (Role, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.roles[name]
	return r, ok
}

// Region returns the account's Region of that name, such as us-east-1.
func (a *Account) Region(name string) *Region {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.regions[name]
	if !ok {
		r = &Region{account: a.id, name: name, enabled: enabledByDefault(name)}
		r.quota = newLimiter(Quota{}, a.id+"/"+name)
		a.regions[name] = r
	}
	return r
}

// allows reports whether the role lets that session assume it.
func (r Role) allows(who *session, externalID string) bool {
	if r.ExternalID != "" && r.ExternalID != externalID {
		return false
	}
	if len(r.Trusts) == 0 {
		return true
	}
	return slices.ContainsFunc(r.Trusts, func(trusted string) bool {
		return trusted == who.account.id || trusted == who.arn ||
			trusted == "arn:aws:iam::"+who.account.id+":root" ||
			who.roleARN != "" && trusted == who.roleARN
	})
}
