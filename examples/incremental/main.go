// Incremental is the smallest useful host: it prints what is new since the last
// run, in the accounts and Regions of its AWS environment, and keeps the sync
// token in a file.
//
//	go run ./incremental token.txt
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"

	"github.com/cloudtrail-connector/cloudtrail"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: incremental TOKENFILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string, out io.Writer, opts ...cloudtrail.Option) error {
	stored, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	since, err := cloudtrail.ParseSyncToken(string(stored)) // "" the first time
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	connector, err := cloudtrail.New(ctx, cloudtrail.Config{}, opts...)
	if err != nil {
		return err
	}
	records := json.NewEncoder(out)
	result, err := connector.Sync(ctx, cloudtrail.SyncOptions{Since: since}, func(_ context.Context, page cloudtrail.Page) error {
		for _, r := range page.Records {
			if err := records.Encode(r); err != nil {
				return err
			}
		}
		return nil
	})
	// Also after an error: the token keeps what is owed.
	return errors.Join(err, save(file, result.Token.String()))
}

// save replaces the file, so that whenever the program dies there is a whole
// token in it.
func save(file, token string) error {
	if err := os.WriteFile(file+".new", []byte(token), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
