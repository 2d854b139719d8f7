package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

// sink takes log records over OTLP/HTTP. It can be stopped and started again on
// the same address.
type sink struct {
	address string
	print   bool
	server  *http.Server

	hold atomic.Bool  // leave requests unanswered, and take nothing of them
	held atomic.Int64 // how many were left so

	mu    sync.Mutex
	taken map[string]int // by UID
	odd   []string       // records that lack what every one must have
}

func newSink() (*sink, error) {
	s := &sink{address: "127.0.0.1:0", taken: map[string]int{}}
	return s, s.start()
}

func (s *sink) start() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: http.HandlerFunc(s.export), ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) { _ = server.Serve(listener) }(s.server) // ends with stop
	return nil
}

func (s *sink) stop() { _ = s.server.Close() }

func (s *sink) export(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	request := plogotlp.NewExportRequest()
	if err == nil {
		err = request.UnmarshalProto(data)
	}
	if err != nil || r.URL.Path != "/v1/logs" {
		http.Error(w, fmt.Sprint(r.URL.Path, ": ", err), http.StatusBadRequest)
		return
	}
	if s.hold.Load() {
		s.held.Add(1)
		<-r.Context().Done()
		return
	}
	s.take(request.Logs())
	answer, _ := plogotlp.NewExportResponse().MarshalProto() // of an empty message
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func (s *sink) take(logs plog.Logs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rl := range logs.ResourceLogs().All() {
		resource := rl.Resource().Attributes().AsRaw()
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				attributes := lr.Attributes().AsRaw()
				uid, _ := attributes["UID"].(string)
				s.taken[uid]++
				if resource["cloud.account.id"] == nil || resource["cloud.region"] != attributes["REGION"] || lr.Timestamp() == 0 || lr.Body().Str() == "" {
					s.odd = append(s.odd, fmt.Sprint(resource, attributes))
				}
				if s.print {
					fmt.Println(lr.Timestamp().AsTime().Format(time.RFC3339), resource["cloud.account.id"], resource["cloud.region"],
						attributes["EVENT_SOURCE"], attributes["EVENT_NAME"], attributes["USERNAME"])
				}
			}
		}
	}
}

// counts returns how many different records were taken, and how many came
// again.
func (s *sink) counts() (different, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.taken {
		again += n - 1
	}
	return len(s.taken), again
}
