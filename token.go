package cloudtrail

import (
	"errors"
	"time"
)

// ErrInvalidToken is matched by the error for a sync token that can't be used.
var ErrInvalidToken = errors.New("cloudtrail: invalid sync token")

// SyncToken says up to when everything is read, and which windows are still
// owed, per partition. It is an opaque, versioned text; the zero value means
// "never".
type SyncToken struct{ text string }

// ParseSyncToken parses a token's text, or a plain time: RFC 3339, or Unix
// milliseconds.
func ParseSyncToken(s string) (SyncToken, error) { panic("not yet") }

// SinceTime returns the token from which a sync reads every event from t on.
func SinceTime(t time.Time) SyncToken { panic("not yet") }

// MergeTokens joins the tokens of workers that shared a sync.
func MergeTokens(tokens ...SyncToken) SyncToken { panic("not yet") }

// String returns the token's text, "" for the zero token.
func (t SyncToken) String() string { return t.text }

// IsZero reports whether t is the zero token.
func (t SyncToken) IsZero() bool { return t.text == "" }

// MarshalText implements encoding.TextMarshaler.
func (t SyncToken) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *SyncToken) UnmarshalText(b []byte) error {
	p, err := ParseSyncToken(string(b))
	if err == nil {
		*t = p
	}
	return err
}
