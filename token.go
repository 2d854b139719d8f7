package cloudtrail

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrInvalidToken is matched by the error for a sync token that can't be used:
// its text is damaged or of another version, or it was made with another
// filter.
var ErrInvalidToken = errors.New("cloudtrail: invalid sync token")

// SyncToken says, per partition, up to when everything is read and which
// windows are still owed. It is a small immutable text, opaque and versioned:
// comparable, cheap to pass, and marshalled to JSON and text as it is. It holds
// account ids, Regions, times and the filter, and no secret. Going on from it
// reads the last 15 minutes again, since events arrive late. The zero value
// means "never".
type SyncToken struct{ text string }

// tokenPrefix is the version of the format: JSON and its CRC-32, in base64.
const tokenPrefix = "ct1."

// ParseSyncToken parses a token's text, or a plain time as SinceTime takes it:
// RFC 3339, or Unix milliseconds. "" is the zero token. An error matches
// ErrInvalidToken.
func ParseSyncToken(s string) (SyncToken, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return SyncToken{}, nil
	}
	if strings.HasPrefix(s, "ct") {
		_, err := decodeToken(s)
		if err != nil {
			return SyncToken{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
		}
		return SyncToken{s}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		ms, msErr := strconv.ParseUint(s, 10, 48)
		if msErr != nil {
			return SyncToken{}, fmt.Errorf("%w: neither a token, nor an RFC 3339 time, nor Unix milliseconds", ErrInvalidToken)
		}
		t = time.UnixMilli(int64(ms))
	}
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return SyncToken{}, fmt.Errorf("%w: the year is out of range", ErrInvalidToken)
	}
	return SinceTime(t), nil
}

// SinceTime returns the token from which a sync reads every event from t on, in
// every partition and with any filter. The zero time gives the zero token.
func SinceTime(t time.Time) SyncToken {
	t = earlier(t, endless)
	if !t.After(time.Time{}) {
		return SyncToken{}
	}
	return SyncToken{t.UTC().Format(time.RFC3339Nano)}
}

// MergeTokens joins the tokens of workers that shared a sync, in any order: what
// all of them owe is owed, and a partition that only some know is as those have
// it. Sync refuses a token that was merged from different filters.
func MergeTokens(tokens ...SyncToken) SyncToken {
	accounts := map[string][]string{} // known ones, by Region
	states := make([]tokenState, len(tokens))
	for i, t := range tokens {
		states[i] = t.state()
		for k := range states[i].owed {
			if k.account != "" && !slices.Contains(accounts[k.region], k.account) {
				accounts[k.region] = append(accounts[k.region], k.account)
			}
		}
	}
	m := tokenState{owed: map[tokenKey]owed{}}
	for _, s := range states {
		m.mixed = m.mixed || s.mixed || m.filtered && s.filtered && m.filter != s.filter
		m.filtered, m.filter = m.filtered || s.filtered, max(m.filter, s.filter)
		m.since = later(m.since, s.since)
		for k, o := range s.owed {
			// An unknown account is taken for a known one where there is just one.
			if known := accounts[k.region]; k.account == "" && len(known) == 1 {
				k.account = known[0]
			}
			if other, ok := m.owed[k]; ok {
				o = both(o, other)
			}
			m.owed[k] = o
		}
	}
	return m.token()
}

// String returns the token's text, "" for the zero token.
func (t SyncToken) String() string { return t.text }

// IsZero reports whether t is the zero token.
func (t SyncToken) IsZero() bool { return t.text == "" }

// MarshalText implements encoding.TextMarshaler.
func (t SyncToken) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Its error matches
// ErrInvalidToken; t is unchanged then.
func (t *SyncToken) UnmarshalText(b []byte) error {
	parsed, err := ParseSyncToken(string(b))
	if err == nil {
		*t = parsed
	}
	return err
}

// tokenState is what a token's text says. It is never changed once made.
type tokenState struct {
	filtered bool // made by a sync, with this filter ("": none)
	filter   string
	mixed    bool      // merged from tokens with different filters
	since    time.Time // for every partition that isn't in owed; zero: never
	owed     map[tokenKey]owed
}

// tokenKey names a partition. An unknown account matches whatever is known.
type tokenKey struct{ account, region string }

func (k tokenKey) compare(l tokenKey) int {
	return cmp.Or(cmp.Compare(k.account, l.account), cmp.Compare(k.region, l.region))
}

// state never fails: only the functions of this file make tokens with a text.
func (t SyncToken) state() tokenState {
	if strings.HasPrefix(t.text, tokenPrefix) {
		s, _ := decodeToken(t.text)
		return s
	}
	since, _ := time.Parse(time.RFC3339Nano, t.text)
	return tokenState{since: since}
}

// of returns what the partition owes. Of an unknown account it owes what any
// account of that Region owes: that reads too much rather than too little.
func (s tokenState) of(k tokenKey) owed {
	if o, ok := s.owed[k]; ok {
		return o
	}
	if o, ok := s.owed[tokenKey{"", k.region}]; ok {
		return o
	}
	known := s.known(k.region)
	if k.account != "" || len(known) == 0 {
		return owed{through: s.since}
	}
	o := s.owed[known[0]]
	for _, other := range known[1:] {
		o = either(o, s.owed[other])
	}
	return o
}

// known returns the keys of the Region's known accounts, sorted.
func (s tokenState) known(region string) []tokenKey {
	var keys []tokenKey
	for k := range s.owed {
		if k.region == region && k.account != "" {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, tokenKey.compare)
	return keys
}

// set records what a partition owes, under one key for a partition whose
// account is sometimes known and sometimes not. It changes s.owed.
func (s tokenState) set(k tokenKey, o owed) {
	unknown := tokenKey{"", k.region}
	if k == unknown {
		if known := s.known(k.region); len(known) == 1 {
			k = known[0]
		}
	}
	if k != unknown {
		delete(s.owed, unknown)
	}
	s.owed[k] = o
}

func (s tokenState) clone() tokenState {
	s.owed = maps.Clone(s.owed)
	if s.owed == nil {
		s.owed = map[tokenKey]owed{}
	}
	return s
}

// ledger makes the tokens of one sync. It is never changed.
type ledger struct {
	since  SyncToken
	prior  tokenState // what since says
	filter string
	keys   []tokenKey // of the sync's partitions
	all    []tokenKey // of the connector's
}

// token says what is owed when each of the sync's partitions owes its state;
// the zero state leaves the partition as it was.
func (l *ledger) token(states []owed) SyncToken {
	t, changed := l.prior.clone(), false
	for _, k := range l.all {
		// What the token says of an unknown account, it says of each: note that
		// before the first of them takes its place.
		if _, own := t.owed[k]; !own {
			if o, ok := t.owed[tokenKey{"", k.region}]; ok {
				t.owed[k] = o
			}
		}
	}
	for i, o := range states {
		if !o.through.IsZero() {
			t.set(l.keys[i], o)
			changed = true
		}
	}
	if !changed {
		return l.since
	}
	t.filtered, t.filter = true, l.filter
	return t.token()
}

// tokenJSON is the format behind tokenPrefix. Times are Unix nanoseconds.
type tokenJSON struct {
	Filter *string         `json:"f,omitempty"`
	Mixed  bool            `json:"m,omitempty"`
	Since  time.Time       `json:"s,omitzero"`
	Owed   []partitionJSON `json:"p,omitempty"`
}

type partitionJSON struct {
	Account string     `json:"a,omitempty"`
	Region  string     `json:"r"`
	Through int64      `json:"t"`
	Open    [][2]int64 `json:"o,omitempty"`
}

// token encodes s; equal states give equal tokens.
func (s tokenState) token() SyncToken {
	if !s.filtered && len(s.owed) == 0 && !s.mixed {
		return SinceTime(s.since)
	}
	j := tokenJSON{Mixed: s.mixed, Since: s.since}
	if s.filtered {
		j.Filter = &s.filter
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.owed), tokenKey.compare) {
		o := s.owed[k]
		p := partitionJSON{Account: k.account, Region: k.region, Through: o.through.UnixNano()}
		for _, w := range o.open {
			p.Open = append(p.Open, [2]int64{w.start.UnixNano(), w.end.UnixNano()})
		}
		j.Owed = append(j.Owed, p)
	}
	data, err := json.Marshal(j)
	if err != nil {
		panic("cloudtrail: " + err.Error()) // strings and numbers: it can't fail
	}
	data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
	return SyncToken{tokenPrefix + base64.RawURLEncoding.EncodeToString(data)}
}

func decodeToken(text string) (tokenState, error) {
	body, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return tokenState{}, errors.New("it is of another version of the connector")
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(data) < 4 || strings.ContainsAny(body, "\r\n") { // which base64 reads over
		return tokenState{}, errors.New("the text is damaged")
	}
	data, sum := data[:len(data)-4], data[len(data)-4:]
	if crc32.ChecksumIEEE(data) != binary.BigEndian.Uint32(sum) {
		return tokenState{}, errors.New("the text is damaged")
	}
	var j tokenJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return tokenState{}, errors.New("the contents can't be read")
	}
	s := tokenState{mixed: j.Mixed, since: j.Since.UTC(), owed: make(map[tokenKey]owed, len(j.Owed))}
	if j.Filter != nil {
		s.filtered, s.filter = true, *j.Filter
	}
	for _, p := range j.Owed {
		o := owed{through: time.Unix(0, p.Through).UTC()}
		before := time.Time{}
		for _, w := range p.Open {
			v := window{time.Unix(0, w[0]).UTC(), time.Unix(0, w[1]).UTC()}
			if v.empty() || v.start.Before(before) || v.end.After(o.through) {
				return tokenState{}, errors.New("its windows contradict each other")
			}
			before = v.end
			o.open = append(o.open, v)
		}
		s.owed[tokenKey{p.Account, p.Region}] = o
	}
	return s, nil
}
