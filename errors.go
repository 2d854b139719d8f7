package cloudtrail

// ConfigError says what is wrong with one field of a Config, or one setting or
// option. It never holds a secret's value.
type ConfigError struct {
	Field  string // the settings key or the Config field
	Reason string
}

func (e *ConfigError) Error() string { return "cloudtrail: " + e.Field + ": " + e.Reason }

// PartitionError says why one partition could not be read, and what to do
// about it.
type PartitionError struct {
	Partition Partition
	Op        string // "LookupEvents", "AssumeRole", …
	Err       error
	Hint      string
}

func (e *PartitionError) Error() string {
	s := "cloudtrail: " + e.Partition.String() + ": " + e.Op + ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *PartitionError) Unwrap() error { return e.Err }
