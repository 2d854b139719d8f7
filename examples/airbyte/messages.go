package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// message is an AirbyteMessage: Type says which one of the others is set.
type message struct {
	Type       string            `json:"type"`
	Spec       json.RawMessage   `json:"spec,omitempty"`
	Connection *connectionStatus `json:"connectionStatus,omitempty"`
	Catalog    *streams          `json:"catalog,omitempty"`
	Record     *record           `json:"record,omitempty"`
	State      *stateMessage     `json:"state,omitempty"`
	Log        *logMessage       `json:"log,omitempty"`
	Trace      *trace            `json:"trace,omitempty"`
}

type connectionStatus struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

type record struct {
	Stream    string                   `json:"stream"`
	Data      cloudtrail.CloudResource `json:"data"`
	EmittedAt int64                    `json:"emitted_at"` // Unix milliseconds, as everywhere
}

type logMessage struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

type trace struct {
	Type         string        `json:"type"`
	EmittedAt    int64         `json:"emitted_at"`
	Error        *errorTrace   `json:"error,omitempty"`
	StreamStatus *streamStatus `json:"stream_status,omitempty"`
}

type errorTrace struct {
	Message         string            `json:"message"`
	InternalMessage string            `json:"internal_message,omitempty"`
	FailureType     string            `json:"failure_type"`
	Stream          *streamDescriptor `json:"stream_descriptor,omitempty"`
}

type streamStatus struct {
	Stream streamDescriptor `json:"stream_descriptor"`
	Status string           `json:"status"`
}

type streamDescriptor struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// recordCount is a number that the protocol wants with a decimal point.
type recordCount int

// MarshalJSON writes "50.0".
func (n recordCount) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%d.0", int(n)), nil }

// output writes messages. It is safe for concurrent use: the library logs from
// its own goroutines.
type output struct {
	mu  sync.Mutex
	w   io.Writer
	buf bytes.Buffer
	err error // the first that w returned; nothing is written after it
}

// emit writes one message as one line, in one write, so that a killed process
// leaves half a line behind at most where the pipe itself was full.
func (o *output) emit(m message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	o.buf.Reset()
	enc := json.NewEncoder(&o.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return err
	}
	_, o.err = o.w.Write(o.buf.Bytes())
	return o.err
}

// broken returns why nothing can be written any more, or nil.
func (o *output) broken() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// status says how far a stream is: STARTED, RUNNING, COMPLETE or INCOMPLETE.
func (o *output) status(stream streamDescriptor, status string) error {
	return o.emit(message{Type: "TRACE", Trace: &trace{
		Type: "STREAM_STATUS", EmittedAt: now(), StreamStatus: &streamStatus{stream, status}}})
}

// errors traces why a command fails, one message a cause. A broken output is
// found at the end, by broken.
func (o *output) errors(failed []failure) {
	for _, f := range failed {
		t := &errorTrace{Message: f.message, InternalMessage: f.internal, FailureType: f.kind}
		if f.ofStream {
			t.Stream = &streamDescriptor{Name: streamName}
		}
		_ = o.emit(message{Type: "TRACE", Trace: &trace{Type: "ERROR", EmittedAt: now(), Error: t}})
	}
}

// connection is the answer of check.
func (o *output) connection(failed []failure) {
	c := &connectionStatus{Status: "SUCCEEDED"}
	for i, f := range failed {
		if i > 0 {
			c.Message += "\n"
		}
		c.Status, c.Message = "FAILED", c.Message+f.message
	}
	_ = o.emit(message{Type: "CONNECTION_STATUS", Connection: c})
}

func now() int64 { return time.Now().UnixMilli() }

// logHandler makes LOG messages of what is logged, attributes as key=value.
type logHandler struct {
	out  *output
	line slog.Handler // formats into text; used under mu
	text *bytes.Buffer
	mu   *sync.Mutex
}

func newLogHandler(out *output) slog.Handler {
	text := new(bytes.Buffer)
	line := slog.NewTextHandler(text, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{} // the message has a place of its own; the platform adds the time
			}
			return a
		},
	})
	return &logHandler{out, line, text, new(sync.Mutex)}
}

// Enabled leaves debugging out.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle emits r.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Reset()
	if err := h.line.Handle(ctx, r); err != nil {
		return err
	}
	level := r.Level.String() // INFO, WARN and ERROR are the protocol's names too
	text := r.Message
	if attrs := bytes.TrimSpace(h.text.Bytes()); len(attrs) > 0 {
		text += " " + string(attrs)
	}
	return h.out.emit(message{Type: "LOG", Log: &logMessage{level, text}})
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.out, h.line.WithAttrs(attrs), h.text, h.mu}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.out, h.line.WithGroup(name), h.text, h.mu}
}
