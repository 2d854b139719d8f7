package cloudtrailtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// maxRequest is the most of a request's body that is read.
const maxRequest = 1 << 20

// answer is what goes back to the client, whichever way it came.
type answer struct {
	status      int
	contentType string
	body        []byte
	end         ending
}

// ending says what becomes of an answer on its way.
type ending int

const (
	arrives ending = iota
	reset          // the connection is reset before the headers
	cut            // it breaks in the middle of the body
)

// serve answers one request. The error is that of the request's context or of
// reading its body.
func (f *Fake) serve(r *http.Request) (answer, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxRequest)); err != nil {
			return answer{}, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return answer{}, err
	}
	who, scope, refusal := f.authenticate(r, body, time.Now())
	if refusal != nil {
		if r.Header.Get("X-Amz-Target") == "" {
			return f.queryError(refusal.forQuery()), nil
		}
		f.stats.refused()
		return jsonError(refusal.forJSON()), nil
	}
	if scope.service == "sts" {
		return f.serveSTS(r, body, who, scope.region)
	}
	return f.serveCloudTrail(r, body, who, scope.region)
}

// RoundTrip answers a request without a network. It returns early, with the
// context's error, when the request's context ends, and starts no goroutine.
func (f *Fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	a, err := f.serve(r)
	if err != nil {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(a.body)
	switch a.end {
	case reset:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case cut:
		body = io.MultiReader(bytes.NewReader(a.body[:len(a.body)/2]), brokenReader{})
	}
	header := http.Header{
		"Content-Length":   {strconv.Itoa(len(a.body))},
		"Date":             {time.Now().UTC().Format(http.TimeFormat)},
		"X-Amzn-Requestid": {f.requestID()},
	}
	if a.contentType != "" {
		header.Set("Content-Type", a.contentType)
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		ContentLength: int64(len(a.body)),
		Body:          io.NopCloser(body),
		Request:       r,
	}, nil
}

// brokenReader is a connection that is gone.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// ServeHTTP answers as RoundTrip does. The account and Region are those of the
// request's credential scope, so that one address serves them all. Broken
// connections need HTTP/1.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := f.serve(r)
	if err != nil {
		panic(http.ErrAbortHandler) // nobody listens any more
	}
	if a.end == reset {
		resetConnection(w)
	}
	// Names in lower case, as CloudTrail writes this one; net/http sets Date.
	w.Header()["x-amzn-RequestId"] = []string{f.requestID()}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.contentType == "" {
		w.Header()["Content-Type"] = nil // none, instead of a guessed one
	} else {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.WriteHeader(a.status)
	if a.end == cut {
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body) // whoever hung up doesn't want to know
}

// resetConnection drops the client's connection so that it sees a reset, and
// ends the handler.
func resetConnection(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// Start serves the fake on a free port of the loopback interface until the end
// of the test and returns its URL.
func (f *Fake) Start(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("cloudtrailtest: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:           f,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with ErrServerClosed, below
	}()
	tb.Cleanup(func() {
		cancel() // releases the requests that latency or silence holds
		patience, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		if server.Shutdown(patience) != nil { // somebody connected and asked nothing
			_ = server.Close()
		}
		<-served
	})
	return "http://" + listener.Addr().String()
}

// requestID returns a new request id.
func (f *Fake) requestID() string {
	return EventID(0, int(f.requests.Add(1)))
}

// jsonError is an error as awsJson1.1 writes it. The errors that CloudTrail's
// model declares call their text Message, those of the front end message.
func jsonError(e apiError) answer {
	key := "message"
	if strings.HasPrefix(e.code, "Invalid") && e.code != "InvalidSignatureException" ||
		e.code == "AccessDeniedException" || e.code == "ThrottlingException" {
		key = "Message"
	}
	body := append([]byte(`{"__type":`), appendString(nil, e.code)...)
	body = append(body, `,"`+key+`":`...)
	body = append(appendString(body, e.message), '}')
	return answer{status: e.status, contentType: jsonType, body: body}
}
