package cloudtrail

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// randomToken owes something of some of four partitions.
func randomToken(rng *rand.Rand) SyncToken {
	s := tokenState{filtered: true, owed: map[tokenKey]owed{}}
	for _, k := range tokenKeys {
		if rng.IntN(3) > 0 {
			s.owed[k] = randomOwed(rng)
		}
	}
	if rng.IntN(4) == 0 {
		s.since = at(float64(rng.IntN(40)))
	}
	if len(s.owed) == 0 {
		return SinceTime(s.since)
	}
	return s.token()
}

var tokenKeys = []tokenKey{{"111122223333", "us-east-1"}, {"111122223333", "eu-west-1"}, {accountB, "us-east-1"}, {accountC, "us-east-1"}}

// A token's text, and nothing but that text, gives the token back.
func TestTokenText(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 12))
		token := randomToken(rng)
		require.Equal(t, token, again(t, token), "comparable")
		b, err := json.Marshal(map[string]SyncToken{"t": token})
		require.NoError(t, err)
		var back map[string]SyncToken
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, token, back["t"])
		require.Equal(t, token.state(), back["t"].state())
		require.Equal(t, token, back["t"].state().token(), "one text for one state")
	}
	zero, err := ParseSyncToken("")
	require.NoError(t, err)
	require.True(t, zero.IsZero())
	require.Equal(t, SyncToken{}, MergeTokens())
	require.Equal(t, SyncToken{}, SinceTime(time.Time{}))
}

// A corrupted token, or one of another version, is an error that says so:
// never a panic, and never a token that would read everything again.
func TestCorruptedTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 13))
	for range 2 {
		text := randomToken(rng).String()
		for !strings.HasPrefix(text, tokenPrefix) {
			text = randomToken(rng).String()
		}
		bad := func(damaged, what string) {
			before := SinceTime(at(1))
			token := before
			if token.UnmarshalText([]byte(damaged)) == nil {
				t.Fatalf("%s was accepted: %q", what, damaged)
			}
			require.Equal(t, before, token)
			parsed, err := ParseSyncToken(damaged)
			require.ErrorIs(t, err, ErrInvalidToken)
			require.True(t, parsed.IsZero())
		}
		b := []byte(text)
		for i := range b {
			for c := range 256 {
				if byte(c) != text[i] {
					b[i] = byte(c)
					bad(string(b), fmt.Sprintf("byte %d as %q", i, byte(c)))
				}
			}
			b[i] = text[i]
			bad(text[:i]+text[i+1:], "without a byte")
			if i > 0 {
				bad(text[:i], "cut short")
				bad(text[i:], "without its beginning")
			}
		}
		bad(text+text, "twice")
		bad(text+"A", "with one more")
		for _, prefix := range []string{"", "ct", "ct0.", "ct2.", "ct10.", "CT1.", "ct1", "ct1:"} {
			bad(prefix+strings.TrimPrefix(text, tokenPrefix), "with prefix "+prefix)
		}
		_, err := ParseOperationOptions(map[string]string{"since": text[:len(text)-1]})
		require.ErrorIs(t, err, ErrInvalidToken)
		var option *ConfigError
		require.ErrorAs(t, err, &option)
		require.Equal(t, "since", option.Field)
	}
	_, err := ParseSyncToken("ct2.AAAA")
	require.ErrorContains(t, err, "another version")
}

// seal gives contents the envelope of a token.
func seal(contents string) string {
	data := binary.BigEndian.AppendUint32([]byte(contents), crc32.ChecksumIEEE([]byte(contents)))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(data)
}

func TestTokenContents(t *testing.T) {
	for name, contents := range map[string]string{
		"no JSON":          `{`,
		"a list":           `[]`,
		"windows overlap":  `{"p":[{"r":"us-east-1","t":100,"o":[[10,30],[20,40]]}]}`,
		"out of order":     `{"p":[{"r":"us-east-1","t":100,"o":[[50,60],[20,40]]}]}`,
		"empty window":     `{"p":[{"r":"us-east-1","t":100,"o":[[20,20]]}]}`,
		"after through":    `{"p":[{"r":"us-east-1","t":100,"o":[[20,101]]}]}`,
		"a time too large": `{"p":[{"r":"us-east-1","t":1e30}]}`,
	} {
		_, err := ParseSyncToken(seal(contents))
		require.ErrorIs(t, err, ErrInvalidToken, name)
	}
}

func FuzzParseSyncToken(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 14))
	for range 5 {
		f.Add(randomToken(rng).String())
	}
	for _, s := range []string{"", "0", "1772366400000", "2026-03-01T00:00:00.5+02:00", "9999-12-31T23:59:59-14:00", "ct1.", "ct2.AAAA", " \n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { checkToken(t, text) })
}

// The checksum keeps a fuzzer from the contents; here it is right.
func FuzzTokenContents(f *testing.F) {
	f.Add(`{"f":"","s":"2026-03-01T00:00:00Z","p":[{"a":"111122223333","r":"us-east-1","t":1772366400000000000,"o":[[1,2],[5,6]]}]}`)
	f.Add(`{"m":true,"f":"ReadOnly=false","p":[{"r":"us-east-1","t":-9223372036854775808}]}`)
	f.Fuzz(func(t *testing.T, contents string) { checkToken(t, seal(contents)) })
}

// checkToken requires that a text is an error, or a token that comes back from
// its text and can be used.
func checkToken(t *testing.T, text string) {
	token, err := ParseSyncToken(text)
	if err != nil {
		require.ErrorIs(t, err, ErrInvalidToken)
		require.True(t, token.IsZero())
		return
	}
	require.Equal(t, strings.TrimSpace(text) == "", token.IsZero())
	require.Equal(t, token, again(t, token))
	merged := MergeTokens(token, token)
	require.Equal(t, merged, again(t, merged))
	for _, k := range append(slices.Clone(tokenKeys), tokenKey{"", "us-east-1"}) {
		p := token.state().of(k).plan(epoch, epoch, 7*24*time.Hour)
		for _, w := range p.todo {
			require.False(t, w.empty())
			require.False(t, w.start.Before(epoch.Add(-history)))
			require.False(t, w.end.After(epoch.Add(1)))
		}
		s := token.state().clone()
		s.set(k, p.after(p.todo))
		require.NotPanics(t, func() { again(t, s.token()) })
	}
}

// What all owe is owed, whatever the order; a partition that only some know is
// as those have it.
func TestMergeTokens(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 15))
		a, b, c := randomToken(rng), randomToken(rng), randomToken(rng)
		merged := MergeTokens(a, b, c)
		require.Equal(t, merged, MergeTokens(c, a, b))
		require.Equal(t, merged, MergeTokens(MergeTokens(a, b), c))
		require.Equal(t, merged, MergeTokens(a, MergeTokens(b, c)))
		require.Equal(t, merged, MergeTokens(merged, merged, SyncToken{}))
		result := merged.state()
		for _, k := range tokenKeys {
			var known []owed
			for _, token := range []SyncToken{a, b, c} {
				if o, ok := token.state().owed[k]; ok {
					known = append(known, o)
				}
			}
			if len(known) == 0 {
				continue
			}
			for s := -0.5; s < 60; s++ {
				want := !slices.ContainsFunc(known, func(o owed) bool { return !o.has(at(s)) })
				require.Equal(t, want, result.of(k).has(at(s)), "seed %d: %v at %v", seed, k, s)
			}
		}
	}
}

// An account that was once unknown is whatever account is known, and owes no
// more and no less; two that are known never match.
func TestUnknownAccounts(t *testing.T) {
	unknown, known, other := tokenKey{"", "us-east-1"}, tokenKeys[0], tokenKeys[2]
	of := func(k tokenKey, o owed) SyncToken {
		return tokenState{filtered: true, owed: map[tokenKey]owed{k: o}}.token()
	}
	same := func(want, got owed, what ...any) {
		t.Helper()
		require.Equal(t, of(known, want), of(known, got), what...)
	}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 16))
		o, p := randomOwed(rng), randomOwed(rng)
		same(o, of(unknown, o).state().of(known))
		same(o, of(known, o).state().of(unknown))
		require.Equal(t, owed{}, of(known, o).state().of(other), "starts afresh")
		for _, merged := range []SyncToken{MergeTokens(of(unknown, o), of(known, p)), MergeTokens(of(known, p), of(unknown, o))} {
			require.Len(t, merged.state().owed, 1)
			same(both(o, p), merged.state().of(known))
		}
		// Of two accounts the unknown one may be either: what any owes is read.
		two := MergeTokens(of(known, o), of(other, p))
		same(either(o, p), two.state().of(unknown))
		s := of(known, o).state().clone()
		s.set(unknown, p)
		same(p, s.token().state().of(known), "one key, not two")
		s = of(unknown, o).state().clone()
		s.set(known, p)
		same(p, s.token().state().of(unknown))
		require.Len(t, s.owed, 1)
	}
}

// One token has one text: base64 would read over line breaks.
func TestTokenWithLineBreaks(t *testing.T) {
	text := MergeTokens(tokenState{filtered: true}.token()).String()
	for _, broken := range []string{text[:9] + "\n" + text[9:], text[:9] + "\r\n" + text[9:]} {
		_, err := ParseSyncToken(broken)
		require.ErrorIs(t, err, ErrInvalidToken)
	}
	parsed, err := ParseSyncToken(text + "\n") // as a file ends
	require.NoError(t, err)
	require.Equal(t, text, parsed.String())
}
