package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"github.com/cloudtrail-connector/cloudtrail"
	"golang.org/x/term"
)

const (
	redrawEvery = 200 * time.Millisecond // on a terminal
	reportEvery = 10 * time.Second       // elsewhere
	rateOver    = 5 * time.Second        // what "requests a second" is measured over
	quota       = 2                      // AWS's: requests a second of one account and Region
)

// monitor shows how a sync goes, on standard error: on a terminal as a block of
// lines that is drawn again and again, elsewhere as plain lines now and then.
type monitor struct {
	mu      sync.Mutex
	out     io.Writer
	quiet   bool
	live    bool // standard error is a terminal
	shared  bool // and the records go to one too, the same most likely
	all     bool // Regions were asked for, so that some may not be enabled
	size    func() (width, height int)
	began   time.Time
	parts   []*part
	byName  map[cloudtrail.Partition]*part
	drawn   int // lines of the block that is on the terminal
	stopped chan struct{}
	done    sync.WaitGroup
}

// part is what is shown of one partition.
type part struct {
	name      string
	covered   float64
	records   int
	throttles int
	starts    []time.Time // of the requests of the last seconds
	first     time.Time   // request
	done      bool
	trouble   string // what went wrong last; "" after a success
	disabled  bool   // all Regions were asked for, and this one isn't enabled
}

func newMonitor(stdout, stderr io.Writer, s settings) *monitor {
	m := &monitor{out: stderr, quiet: s.quiet, byName: map[cloudtrail.Partition]*part{}, stopped: make(chan struct{})}
	m.all = slices.Contains(s.config.Regions, "all")
	m.size = func() (int, int) { return 0, 0 }
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.live = !s.quiet && os.Getenv("TERM") != "dumb"
		m.size = func() (int, int) {
			w, h, err := term.GetSize(int(f.Fd()))
			if err != nil || w <= 0 || h <= 0 {
				return 80, 24
			}
			return w, h
		}
	}
	if f, ok := stdout.(*os.File); ok {
		m.shared = m.live && s.out == "" && term.IsTerminal(int(f.Fd()))
	}
	return m
}

// width returns the terminal's, 0 where there is none.
func (m *monitor) width() int {
	w, _ := m.size()
	return w
}

// observer returns what tells the monitor of a sync.
func (m *monitor) observer() cloudtrail.Observer {
	return cloudtrail.Observer{Request: m.request, Progress: m.progress}
}

func (m *monitor) request(r cloudtrail.RequestInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byName[r.Partition]
	if p == nil {
		return
	}
	now := time.Now()
	start := now.Add(-r.Duration)
	if p.first.IsZero() {
		p.first = start
	}
	p.starts = append(p.starts, start)
	p.rate(now) // forgets the old ones, also where nobody looks
	p.trouble = ""
	if r.Err != nil && !errors.Is(r.Err, context.Canceled) {
		p.trouble = brief(r.Err)
		p.disabled = m.all && p.trouble == "UnrecognizedClientException"
		if strings.Contains(p.trouble, "Throttl") {
			p.throttles++
			p.trouble = ""
		}
	}
}

func (m *monitor) progress(r cloudtrail.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byName[r.Partition]
	if p == nil {
		return
	}
	p.covered, p.records = r.Covered, r.Records
	if r.Done && !p.done && !m.live && !m.quiet {
		state := "read"
		switch {
		case p.disabled:
			state = "not enabled"
		case r.Covered < 1:
			state = "not read to the end"
		}
		fmt.Fprintf(m.out, "%s: %s, %s records\n", p.name, state, number(p.records))
	}
	p.done = r.Done
}

// logger returns where the library's warnings go.
func (m *monitor) logger() *slog.Logger { return slog.New(noteHandler{m}) }

// note prints a line above the block.
func (m *monitor) note(line string) {
	if m.quiet {
		return
	}
	_ = m.aside(func() error {
		_, err := fmt.Fprintln(m.out, fold(line, m.width()))
		return err
	})
}

// records calls f, which writes to standard output.
func (m *monitor) records(f func() error) error {
	if !m.shared {
		return f()
	}
	return m.aside(f)
}

// aside calls f, which prints, without the block being in its way.
func (m *monitor) aside(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drawn == 0 {
		return f()
	}
	m.erase()
	defer m.draw()
	return f()
}

func (m *monitor) start(partitions []cloudtrail.Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began = time.Now()
	for _, p := range partitions {
		m.byName[p] = &part{name: p.String()}
		m.parts = append(m.parts, m.byName[p])
	}
	if m.quiet {
		return
	}
	every := reportEvery
	if m.live {
		every = redrawEvery
		m.draw()
	}
	m.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-m.stopped:
				return
			case <-tick.C:
				m.show()
			}
		}
	})
}

func (m *monitor) show() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live {
		m.draw()
		return
	}
	fmt.Fprintln(m.out, m.total(false))
}

// stop ends the display; the block is gone then.
func (m *monitor) stop() {
	close(m.stopped)
	m.done.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
}

// rate returns requests a second, over the last seconds. It forgets older ones.
func (p *part) rate(now time.Time) float64 {
	old := 0
	for old < len(p.starts) && now.Sub(p.starts[old]) > rateOver {
		old++
	}
	p.starts = p.starts[old:]
	if len(p.starts) == 0 {
		return 0
	}
	return float64(len(p.starts)) / max(1, min(rateOver, now.Sub(p.first)).Seconds())
}

// total sums up all partitions in a line. A narrow one has no throttles.
func (m *monitor) total(narrow bool) string {
	now := time.Now()
	var read, failed, disabled, records, throttles int
	var covered, rate float64
	for _, p := range m.parts {
		switch {
		case p.done && p.covered == 1:
			read++
		case p.done && p.disabled:
			disabled++
		case p.done:
			failed++
		}
		covered += p.covered
		records += p.records
		throttles += p.throttles
		rate += p.rate(now)
	}
	s := fmt.Sprintf("%s  %d of %d read", clock(now.Sub(m.began)), read, len(m.parts))
	if disabled > 0 {
		s += fmt.Sprintf(", %d not enabled", disabled)
	}
	if failed > 0 {
		s += fmt.Sprintf(", %d failed", failed)
	}
	s += fmt.Sprintf(", %.0f %%, %s records, %.1f req/s", 100*covered/float64(max(1, len(m.parts)-disabled)), number(records), rate)
	if !narrow {
		s += ", " + number(throttles) + " throttled"
	}
	return s
}

// noteHandler prints what the library logs as lines of the monitor.
type noteHandler struct{ m *monitor }

func (h noteHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (h noteHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h noteHandler) WithGroup(string) slog.Handler                { return h }

func (h noteHandler) Handle(_ context.Context, r slog.Record) error {
	line := "Note: " + r.Message
	failed := false
	r.Attrs(func(a slog.Attr) bool {
		failed = failed || a.Key == "error"
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	if !failed { // failures are explained, once, at the end
		h.m.note(line)
	}
	return nil
}

// brief returns an AWS error's code, or whatever fits in a line.
func brief(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return "no connection"
}
