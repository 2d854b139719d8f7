package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// storeMessage is what goes over the wire, both ways, between storeClient and
// storeHandler: the arguments and results of a Store's methods.
type storeMessage struct {
	Key     Key                        `json:"key,omitzero"`
	Fence   Fence                      `json:"fence,omitzero"`
	Records []cloudtrail.CloudResource `json:"records,omitempty"`
	Token   cloudtrail.SyncToken       `json:"token"`
	Tokens  []cloudtrail.SyncToken     `json:"tokens,omitempty"`
	Epoch   int64                      `json:"epoch,omitempty"`
}

// workerHeader names the worker that calls, for whoever watches the store; the
// served Store finds it in its context.
const workerHeader = "X-Worker"

type workerKey struct{}

// storeHandler serves a Store to other processes.
func storeHandler(s Store) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, call func(context.Context, storeMessage) (storeMessage, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			var in storeMessage
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			out, err := call(context.WithValue(r.Context(), workerKey{}, r.Header.Get(workerHeader)), in)
			switch {
			case errors.Is(err, ErrFenced):
				http.Error(w, err.Error(), http.StatusConflict)
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
			default:
				_ = json.NewEncoder(w).Encode(out) // whoever hung up doesn't want to know
			}
		})
	}
	handle("/begin", func(ctx context.Context, in storeMessage) (out storeMessage, err error) {
		out.Epoch, err = s.Begin(ctx, in.Key.Sync)
		return out, err
	})
	handle("/claim", func(ctx context.Context, in storeMessage) (out storeMessage, err error) {
		out.Token, err = s.Claim(ctx, in.Key, in.Fence)
		return out, err
	})
	handle("/put", func(ctx context.Context, in storeMessage) (out storeMessage, err error) {
		return out, s.Put(ctx, in.Key, in.Fence, in.Records, in.Token)
	})
	handle("/tokens", func(ctx context.Context, in storeMessage) (out storeMessage, err error) {
		out.Tokens, err = s.Tokens(ctx, in.Key.Sync)
		return out, err
	})
	return mux
}

// storeClient is a Store in another process. It retries nothing: a call that
// fails, fails the activity, and the next attempt claims the row anew and goes
// on from what is stored. It is safe for concurrent use.
type storeClient struct {
	url, worker string
	http        *http.Client
}

func newStoreClient(url, worker string) *storeClient {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64 // each partition writes twice a second
	return &storeClient{url: url, worker: worker, http: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

func (c *storeClient) Begin(ctx context.Context, sync string) (int64, error) {
	out, err := c.call(ctx, "/begin", storeMessage{Key: Key{Sync: sync}})
	return out.Epoch, err
}

func (c *storeClient) Claim(ctx context.Context, key Key, f Fence) (cloudtrail.SyncToken, error) {
	out, err := c.call(ctx, "/claim", storeMessage{Key: key, Fence: f})
	return out.Token, err
}

func (c *storeClient) Put(ctx context.Context, key Key, f Fence, records []cloudtrail.CloudResource, token cloudtrail.SyncToken) error {
	_, err := c.call(ctx, "/put", storeMessage{Key: key, Fence: f, Records: records, Token: token})
	return err
}

func (c *storeClient) Tokens(ctx context.Context, sync string) ([]cloudtrail.SyncToken, error) {
	out, err := c.call(ctx, "/tokens", storeMessage{Key: Key{Sync: sync}})
	return out.Tokens, err
}

func (c *storeClient) call(ctx context.Context, path string, in storeMessage) (out storeMessage, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set(workerHeader, c.worker)
	res, err := c.http.Do(req)
	if err != nil {
		return out, fmt.Errorf("store: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			return out, fmt.Errorf("store: %w", err)
		}
		_, _ = io.Copy(io.Discard, res.Body) // so that the connection is used again
		return out, nil
	case http.StatusConflict:
		return out, ErrFenced
	default:
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return out, fmt.Errorf("store: %s: %s", res.Status, bytes.TrimSpace(text))
	}
}
