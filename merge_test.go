package cloudtrail

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever ids are known: merging doesn't depend on the order of tokens or maps,
// and what all tokens owe of a known account is still owed.
func TestMergeTokensInAnyOrder(t *testing.T) {
	accounts := []string{"", "111111111111", "222222222222"}
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 6))
		states := make([]tokenState, 2)
		for i := range states {
			states[i] = tokenState{filtered: true, owed: map[tokenKey]owed{}}
			for _, account := range accounts {
				if rng.IntN(2) == 0 {
					states[i].owed[tokenKey{account, "us-east-1"}] = randomOwed(rng)
				}
			}
		}
		a, b := states[0].token(), states[1].token()
		merged := MergeTokens(a, b)
		for range 10 {
			require.Equal(t, merged, MergeTokens(b, a), "seed %d", seed)
		}
		for _, account := range accounts[1:] {
			k := tokenKey{account, "us-east-1"}
			x, inA := states[0].owed[k]
			y, inB := states[1].owed[k]
			if !inA || !inB {
				continue
			}
			_, unknownA := states[0].owed[tokenKey{"", k.region}]
			_, unknownB := states[1].owed[tokenKey{"", k.region}]
			if got := merged.state().of(k); !unknownA && !unknownB {
				require.Equal(t, both(x, y).windows(), got.windows(), "seed %d", seed)
			} else if len(merged.state().known(k.region)) > 1 {
				require.Equal(t, both(x, y).windows(), got.windows(), "seed %d: an unknown account says nothing of one of several", seed)
			}
		}
	}
}
