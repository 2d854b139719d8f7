package cloudtrail

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever a test does to a Sync, no goroutine outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
