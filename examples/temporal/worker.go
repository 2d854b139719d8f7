package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/cloudtrail-connector/cloudtrail"
)

// runWorker reads partitions until ctx ends.
func runWorker(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	host, _ := os.Hostname()
	name := flags.String("name", fmt.Sprintf("%s-%d", host, os.Getpid()), "what status calls this worker")
	settings := flags.String("settings", "", "JSON `file` with the library's settings, such as {\"regions\": \"all\"}; must be the same for all workers")
	store := flags.String("store", "http://127.0.0.1:7300", "`URL` of the store")
	queue := flags.String("task-queue", defaultTaskQueue, "where partitions wait for a worker")
	partitions := flags.Int("partitions", 500, "read at once, at most")
	throttle := flags.Duration("heartbeat-throttle", 2*time.Second, "a partition's heartbeats are sent no more often")
	verbose := flags.Bool("v", false, "log everything")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := logger(*verbose)
	connector, err := newConnector(ctx, *settings, log)
	if err != nil {
		return err
	}
	activities := &Activities{Connector: connector, Store: newStoreClient(*store, *name), Log: log}
	for ctx.Err() == nil {
		c, w, err := startWorker(ctx, *name, *queue, *partitions, *throttle, activities)
		if err == nil {
			<-ctx.Done()
			w.Stop() // reading stops at once; other workers go on with its partitions
			c.Close()
			return nil
		}
		log.Warn("trying again", "error", err) // the server may start later than its workers
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// startWorker connects to Temporal and starts serving it.
func startWorker(ctx context.Context, name, queue string, partitions int, throttle time.Duration, a *Activities) (client.Client, worker.Worker, error) {
	c, err := dial(ctx, name, a.Log)
	if err != nil {
		return nil, nil, err
	}
	w := newWorker(c, queue, partitions, throttle, a)
	if err := w.Start(); err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, w, nil
}

// newWorker returns a worker that serves everything in this module.
func newWorker(c client.Client, queue string, partitions int, throttle time.Duration, a *Activities) worker.Worker {
	w := worker.New(c, queue, worker.Options{
		MaxConcurrentActivityExecutionSize: partitions,
		MaxHeartbeatThrottleInterval:       throttle,
		// Eager ones stay on the worker that plans them, and would crowd there.
		DisableEagerActivities: true,
		WorkerStopTimeout:      10 * time.Second,
	})
	w.RegisterWorkflow(SyncWorkflow)
	w.RegisterWorkflow(BatchWorkflow)
	w.RegisterActivity(a)
	return w
}

// newConnector returns the Connector that the settings file describes.
func newConnector(ctx context.Context, file string, log *slog.Logger) (*cloudtrail.Connector, error) {
	settings := map[string]string{}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &settings); err != nil {
			return nil, fmt.Errorf("%s: every setting is a text, several Regions or roles are separated by commas: %w", file, err)
		}
	}
	cfg, err := cloudtrail.ConfigFromSettings(settings)
	if err != nil {
		return nil, err
	}
	// The SDK keeps ten idle connections to a host, which is a Region's endpoint.
	// With hundreds of accounts there, every request would make a new one.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 1000
	})
	aws, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client))
	if err != nil {
		return nil, err
	}
	return cloudtrail.New(ctx, cfg, cloudtrail.WithAWSConfig(aws), cloudtrail.WithLogger(log))
}

// runStore serves a store until ctx ends. It is in memory: what is in it is lost
// then.
func runStore(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	address := flags.String("address", "127.0.0.1:7300", "`host:port` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Printf("store: http://%s, in memory\n", listener.Addr())
	server := &http.Server{Handler: storeHandler(newMemoryStore()), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}
