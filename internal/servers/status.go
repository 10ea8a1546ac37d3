package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Status is what Holdfast's /status tells, as far as tools need it.
type Status struct {
	Name    string `json:"name"`
	Store   string `json:"store"`
	Leader  string `json:"leader"`
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	Serving bool   `json:"serving"`
	Waiting string `json:"waiting"`
	Members []struct {
		Name  string `json:"name"`
		State string `json:"state"`
		Store string `json:"store"`
	} `json:"members"`
	Alarms         []string `json:"alarms"`
	Foundings      []string `json:"foundings"`
	LossyFoundings int      `json:"lossy_foundings"`
	Shortage       string   `json:"shortage"`
	ScrubRounds    uint64   `json:"scrub_rounds"`
	UptimeSeconds  float64  `json:"uptime_seconds"`
}

// Status asks a member of Holdfast.
func (m *Member) Status() (Status, error) {
	var s Status
	err := m.Get("/status", &s)
	return s, err
}

// monitorTime bounds a request to a monitor.
const monitorTime = 2 * time.Second

var monitorClient = &http.Client{Timeout: monitorTime, Transport: &http.Transport{DisableKeepAlives: true}}

// Get reads a page of the member's monitor, JSON, into what answer points to.
func (m *Member) Get(page string, answer any) error {
	response, err := monitorClient.Get("http://" + m.Address(MonitorPort) + page)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %d: %s", response.StatusCode, strings.TrimSpace(string(body)))
	}
	if err == nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", m.Name, page, err)
	}
	return nil
}

// Whole returns nil when the cluster has everything that it should have: every
// member serves, they agree who leads, the leader counts the present store of each
// of them as a voter, and each has applied what is committed. Otherwise it says
// what is missing.
func (c *Cluster) Whole() error {
	all := make(map[string]Status)
	leader := ""
	for _, m := range c.Members {
		s, err := m.Status()
		switch {
		case err != nil:
			return err
		case !s.Serving:
			return fmt.Errorf("%s does not serve: %s", m.Name, s.Waiting)
		case leader != "" && s.Leader != leader:
			return fmt.Errorf("%s says that %q leads, another says %q", m.Name, s.Leader, leader)
		case s.Shortage != "":
			return fmt.Errorf("%s: %s", m.Name, s.Shortage)
		}
		leader, all[m.Name] = s.Leader, s
	}
	s, there := all[leader]
	if !there {
		return fmt.Errorf("the leader is %q", leader)
	}
	if len(s.Alarms) > 0 {
		return errors.New(strings.Join(s.Alarms, "; "))
	}
	for _, m := range s.Members {
		if m.State != "voter" || m.Store != all[m.Name].Store {
			return fmt.Errorf("%s says that %s is %s with store %s, its store is %s", leader, m.Name, m.State, m.Store, all[m.Name].Store)
		}
	}
	// The leader was perhaps not asked last; what it had committed then, others
	// have to have applied before long.
	for _, m := range c.Members {
		if all[m.Name].Applied+appliedSlack < s.Commit {
			return fmt.Errorf("%s has applied %d of %d", m.Name, all[m.Name].Applied, s.Commit)
		}
	}
	return nil
}

// appliedSlack is how many entries may be on their way to a member that lacks
// nothing.
const appliedSlack = 200

// WaitWhole waits until the cluster is whole, for at most limit, and returns what
// is missing then.
func (c *Cluster) WaitWhole(ctx context.Context, limit time.Duration) error {
	return Await(ctx, limit, wholePause, c.Whole)
}

// wholePause is the pause between two looks at a cluster.
const wholePause = 20 * time.Millisecond

// Await calls probe until it returns no error, for about limit, and returns the last
// error then. The last probe begins after limit: one that was held up together with
// this process, as when the machine sleeps, decides nothing.
func Await(ctx context.Context, limit, pause time.Duration, probe func() error) error {
	for deadline := time.Now().Add(limit); ; {
		last := time.Now().After(deadline)
		err := probe()
		if err == nil || last {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
