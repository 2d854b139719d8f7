//go:build unix

package cloudtrail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"
)

// serveCanned makes this test binary the server of BenchmarkCapacity.
const serveCanned = "CLOUDTRAIL_BENCH_SERVE"

// BenchmarkCapacity measures how many partitions this machine keeps at the
// quota at once: in real time, over loopback, with signed requests and pages of
// 50 events of 2.5 KB. The server is a process of its own on the same machine,
// canned, and takes a share of the CPU that is reported too.
//
// It takes the most pages a second that the machine reads unpaced, halves that,
// and looks from there for the largest number of partitions that are read at
// 0.97 of their 2 pages a second or better. Whatever else the machine does takes
// away from it; how many partitions a core that was really used can read depends
// less on that. Nothing is asserted.
func BenchmarkCapacity(b *testing.B) {
	address, stop := startCanned(b)
	cfg := newCanned(b).awsConfig()
	cfg.BaseEndpoint = aws.String(address)
	// Each Region of AWS is a host of its own, with connections of its own; here
	// all share one.
	transport := &http.Transport{MaxIdleConnsPerHost: 1024}
	defer transport.CloseIdleConnections()
	cfg.HTTPClient = &http.Client{Transport: transport}
	most, cpu := 0, time.Duration(0)
	for b.Loop() {
		unpaced, _ := readAtOnce(b, cfg, 64, math.Inf(1), time.Second/2, 2*time.Second)
		n, low, high := int(unpaced/2), 0, 0
		for range 5 {
			rate, each := readAtOnce(b, cfg, n, 2, 3*time.Second/2, 3*time.Second)
			reached := rate / (2 * float64(n))
			b.Logf("%d partitions: %.3f of the quota", n, reached)
			if reached >= 0.97 {
				low, cpu = n, each
			} else {
				high = n
			}
			if high == 0 {
				n = n * 5 / 4
			} else if low == 0 {
				n = n * 3 / 4
			} else {
				n = (low + high) / 2
			}
		}
		most = max(most, low)
	}
	stop()
	server, client := cpuTime(syscall.RUSAGE_CHILDREN), cpuTime(syscall.RUSAGE_SELF)
	b.ReportMetric(float64(most), "partitions")
	b.ReportMetric(cpu.Seconds(), "client-cores")
	b.ReportMetric(float64(most)/max(cpu.Seconds(), 1e-9), "partitions/client-core")
	b.ReportMetric(float64(server)/float64(server+client), "server-share")
}

// readAtOnce reads that many partitions at a rate for each and returns the pages
// a second, and the CPU time a second of this process, after a warm-up.
func readAtOnce(b *testing.B, cfg aws.Config, partitions int, rate float64, warmUp, measure time.Duration) (float64, time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), warmUp+measure)
	defer cancel()
	var roles []string
	for i := range (partitions + len(benchRegions) - 1) / len(benchRegions) {
		roles = append(roles, fmt.Sprintf("arn:aws:iam::%012d:role/reader", 500000000000+i))
	}
	c, err := New(ctx, Config{AssumeRoleARN: strings.Join(roles, ","), Regions: benchRegions, ParallelRequests: 64}, WithAWSConfig(cfg), WithLookupRate(rate))
	require.NoError(b, err)
	all, err := c.Partitions(ctx)
	require.NoError(b, err)
	start, pages := time.Now(), 0
	var from time.Time
	cpu := time.Duration(0)
	_, err = c.Sync(ctx, SyncOptions{Partitions: all[:partitions]}, func(context.Context, Page) error {
		if from.IsZero() && time.Since(start) >= warmUp {
			from, cpu, pages = time.Now(), cpuTime(syscall.RUSAGE_SELF), 0
		}
		pages++
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		b.Fatal(err)
	}
	took := time.Since(from)
	if from.IsZero() || took <= 0 { // nothing came after the warm-up
		return 0, 0
	}
	return float64(pages) / took.Seconds(), time.Duration(float64(cpuTime(syscall.RUSAGE_SELF)-cpu) / took.Seconds())
}

// startCanned starts the server and returns its URL and how to stop it.
func startCanned(b *testing.B) (string, func()) {
	server := exec.Command(os.Args[0], "-test.run=^TestServeCanned$")
	server.Env = append(os.Environ(), serveCanned+"=1")
	stdin, err := server.StdinPipe()
	require.NoError(b, err)
	stdout, err := server.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, server.Start())
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			_ = stdin.Close()
			_ = server.Wait()
		}
	}
	b.Cleanup(stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	return strings.TrimSpace(line), stop
}

// TestServeCanned is BenchmarkCapacity's server, until its standard input ends.
func TestServeCanned(t *testing.T) {
	if os.Getenv(serveCanned) == "" {
		t.Skip("serves only BenchmarkCapacity")
	}
	c := newCanned(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := c.pool.Get().(*bytes.Buffer)
		defer c.pool.Put(b)
		b.Reset()
		if err := c.answer(b, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		_, _ = w.Write(b.Bytes())
	})}
	go func() { _ = server.Serve(listener) }()
	fmt.Println("http://" + listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = server.Close()
}
