package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/servers"
)

// measure is something of a node that must not grow.
type measure int

const (
	liveHeap    measure = iota // what Go's collector could not free
	anonymous                  // memory of the process that no file backs
	goroutines                 //
	threads                    //
	descriptors                // open files and sockets
	storeBytes                 // of all files of the store's folder
	measureCount
)

// kindOf is what is known about a measure. Over the second half of the churn its
// trend may rise by slack and a part of its level; at rest it may be that much
// above what it was at rest before.
type kindOf struct {
	name  string
	unit  string // "B": bytes
	slack float64
	part  float64
	// keepsRoom: what was needed once may be kept for later, so that only the trend
	// tells something.
	keepsRoom bool
}

// The bounds leave room for what a measure varies by from one moment to the next,
// and for tables that grow by doubling, and for nothing that goes on growing: they
// are the same for minutes and for days.
var kinds = [measureCount]kindOf{
	liveHeap:    {"live heap", "B", 3 << 20, 0.05, false},
	anonymous:   {"anonymous memory", "B", 12 << 20, 0.10, true},
	goroutines:  {"goroutines", "", 10, 0.05, false},
	threads:     {"threads", "", 6, 0.10, false},
	descriptors: {"file descriptors", "", 10, 0.05, false},
	storeBytes:  {"store files", "B", 24 << 20, 0.10, true},
}

func (k kindOf) bound(level float64) float64 { return k.slack + k.part*level }

// sample is all measures of one node at a moment.
type sample struct {
	at     time.Duration // since the watch began
	values [measureCount]float64
}

// watch takes the samples of all nodes.
type watch struct {
	nodes    []*servers.Node
	began    time.Time
	profiles string

	rested, later []sample   // at rest, before and after the churn, by node
	during        [][]sample // by node, in the order of time
}

const (
	// samples is about how many are taken of each node during the churn.
	samples              = 300
	shortestPause        = 500 * time.Millisecond
	longestPause         = 10 * time.Second
	lookTime             = 20 * time.Second // bounds one look at a node
	patience             = time.Minute      // with a machine that has no time for us
	restPause            = 500 * time.Millisecond
	profileMode   uint32 = 0o644
)

// look takes samples until the context ends, and keeps profiles in the middle.
func (w *watch) look(ctx context.Context, length time.Duration, tell func(w *watch)) error {
	w.during = make([][]sample, len(w.nodes))
	pause := min(max(length/samples, shortestPause), longestPause)
	middle := time.Now().Add(length / 2)
	for wait(ctx, pause) {
		for i, n := range w.nodes {
			var s sample
			err := servers.Await(ctx, patience, shortestPause, func() (err error) {
				s, err = w.take(ctx, n)
				return err
			})
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			w.during[i] = append(w.during[i], s)
		}
		tell(w)
		if !middle.IsZero() && time.Now().After(middle) {
			middle = time.Time{}
			if err := w.keep("middle"); err != nil {
				return err
			}
		}
	}
	return nil
}

// before and after measure the nodes at rest: for each measure the least that was
// seen within some time, because what is on its way out may take that long.
func (w *watch) before(ctx context.Context, limit time.Duration) (err error) {
	w.rested, err = w.least(ctx, limit)
	return err
}

func (w *watch) after(ctx context.Context, limit time.Duration) (err error) {
	w.later, err = w.least(ctx, limit)
	return err
}

func (w *watch) least(ctx context.Context, limit time.Duration) ([]sample, error) {
	var all []sample
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		for i, n := range w.nodes {
			s, err := w.take(ctx, n)
			if err != nil {
				return nil, err
			}
			if len(all) <= i {
				all = append(all, s)
			}
			for m := range measureCount {
				all[i].values[m] = min(all[i].values[m], s.values[m])
			}
		}
		if !wait(ctx, restPause) {
			return nil, ctx.Err()
		}
	}
	return all, nil
}

// take measures one node.
func (w *watch) take(ctx context.Context, n *servers.Node) (s sample, err error) {
	s.at = time.Since(w.began)
	defer func() {
		if err != nil {
			err = fmt.Errorf("measure %s: %w", n.Name, err)
		}
	}()
	if err := n.Ended(); err != nil {
		return s, err
	}
	if s.values[liveHeap], err = pageNumber(ctx, n, "heap?gc=1&debug=1", "# HeapAlloc = "); err != nil {
		return s, err
	}
	if s.values[goroutines], err = pageNumber(ctx, n, "goroutine?debug=1", "goroutine profile: total "); err != nil {
		return s, err
	}
	process := fmt.Sprintf("/proc/%d", n.Process.PID())
	status, err := os.ReadFile(process + "/status")
	if err != nil {
		return s, err
	}
	kilobytes, err1 := number(string(status), "\nRssAnon:")
	s.values[anonymous] = kilobytes * 1024
	var err2 error
	s.values[threads], err2 = number(string(status), "\nThreads:")
	open, err3 := os.ReadDir(process + "/fd")
	s.values[descriptors] = float64(len(open))
	var err4 error
	s.values[storeBytes], err4 = folderBytes(n.Store)
	return s, errors.Join(err1, err2, err3, err4)
}

// number is what follows a word in a text.
func number(text, word string) (float64, error) {
	_, rest, found := strings.Cut("\n"+text, word)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("no %q", strings.TrimSpace(word))
	}
	return strconv.ParseFloat(fields[0], 64)
}

// profilePage opens a page of a node's profiles.
func profilePage(ctx context.Context, n *servers.Node, page string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Address(servers.MonitorPort)+"/debug/pprof/"+page, nil)
	if err != nil {
		return nil, err
	}
	response, err := profileClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: it answers %d", page, response.StatusCode), response.Body.Close())
	}
	return response.Body, nil
}

// profileClient keeps no connection open, which would be one of those that are
// counted.
var profileClient = &http.Client{Timeout: lookTime, Transport: &http.Transport{DisableKeepAlives: true}}

// pageNumber is the number after a prefix of a line of a page of profiles.
func pageNumber(ctx context.Context, n *servers.Node, page, prefix string) (float64, error) {
	body, err := profilePage(ctx, n, page)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), prefix); found {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("%s: no %q", page, prefix), lines.Err())
}

// keep stores profiles of all nodes, if they are wanted.
func (w *watch) keep(when string) error {
	if w.profiles == "" {
		return nil
	}
	for _, n := range w.nodes {
		for name, page := range map[string]string{"heap": "heap?gc=1", "goroutines": "goroutine?debug=1"} {
			body, err := profilePage(context.Background(), n, page)
			if err != nil {
				return err
			}
			content, err := io.ReadAll(body)
			err = errors.Join(err, body.Close())
			if err == nil {
				err = os.WriteFile(filepath.Join(w.profiles, n.Name+"-"+name+"-"+when), content, fs.FileMode(profileMode))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// folderBytes is the size of all files below a folder. Files may go meanwhile.
func folderBytes(folder string) (sum float64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				sum += float64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

// wait returns false when the context ended before.
func wait(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
