package otelreceiver

import (
	"context"
	"fmt"

	"github.com/cloudtrail-connector/cloudtrail"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// tokenStore keeps the sync token in a storage extension.
type tokenStore struct {
	client storage.Client
	key    string
	stored cloudtrail.SyncToken
}

// openTokens returns the store of a receiver; without a storage extension it
// keeps nothing. A token fits only the filter that it was made with, so every
// filter has a key of its own: with a new one the receiver starts afresh, and
// with the old one again it goes on from where that was.
func openTokens(ctx context.Context, host component.Host, extension *component.ID, id component.ID, filter cloudtrail.Filter) (*tokenStore, error) {
	t := &tokenStore{client: storage.NewNopClient(), key: "sync_token"}
	if filter != (cloudtrail.Filter{}) {
		t.key += "/" + filter.String()
	}
	if extension == nil {
		return t, nil
	}
	ext, ok := host.GetExtensions()[*extension]
	if !ok {
		return nil, fmt.Errorf("storage: the extension %q is not in service::extensions", extension)
	}
	store, ok := ext.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: the extension %q is not a storage extension", extension)
	}
	client, err := store.GetClient(ctx, component.KindReceiver, id, "")
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	t.client = client
	return t, nil
}

// load returns the stored token, the zero one where there is none.
func (t *tokenStore) load(ctx context.Context) (cloudtrail.SyncToken, error) {
	text, err := t.client.Get(ctx, t.key)
	if err != nil {
		return cloudtrail.SyncToken{}, fmt.Errorf("storage: reading the sync token: %w", err)
	}
	t.stored, err = cloudtrail.ParseSyncToken(string(text))
	if err != nil {
		return cloudtrail.SyncToken{}, fmt.Errorf("storage: %w; remove it to read all of lookback_days again", err)
	}
	return t.stored, nil
}

// store is not interrupted by the end of ctx: what the pipeline has taken is
// kept.
func (t *tokenStore) store(ctx context.Context, token cloudtrail.SyncToken) error {
	if token == t.stored {
		return nil
	}
	if err := t.client.Set(context.WithoutCancel(ctx), t.key, []byte(token.String())); err != nil {
		return fmt.Errorf("storage: keeping the sync token: %w", err)
	}
	t.stored = token
	return nil
}

func (t *tokenStore) close(ctx context.Context) error { return t.client.Close(ctx) }
