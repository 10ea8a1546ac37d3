package member

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/mesh"
	"holdfast/protocol"
	"holdfast/wal"
)

// The operator's commands (rule P7). Each has a plan, which changes nothing and
// says what the command would do and risk.

// ErrNotHere: this node has no such store, neither in use nor set aside.
var ErrNotHere = errors.New("this node has no such store")

// PlanFound tells what Found would do and risk.
func (m *Member) PlanFound(without []string) (mesh.Risk, error) {
	return m.life.replica.PlanFound(without)
}

// Found is the operator's `found --without`.
func (m *Member) Found(without []string) error { return m.life.replica.Found(without) }

// PlanDiscard tells what Discard would give up.
func (m *Member) PlanDiscard(name string) (mesh.Risk, error) {
	aside, err := m.find(name)
	if err != nil {
		return mesh.Risk{}, err
	}
	if len(aside) == 0 {
		store, err := protocol.ParseStoreID(name)
		if err != nil {
			return mesh.Risk{}, err
		}
		return m.life.replica.PlanDiscard(store)
	}
	var r mesh.Risk
	for i := range aside {
		q := &aside[i]
		r.Lines = append(r.Lines, fmt.Sprintf("%s is REMOVED for good (%d bytes): store %s, lineage %s, set aside %s because: %s",
			q.Path, q.Bytes, q.Store, q.Lineage, q.Time.Format(time.RFC3339), q.Reason))
	}
	local := m.life.replica.Local()
	if local.Blank() {
		r.Lines = append(r.Lines, "This node holds NOTHING else: its present store is blank. Wait until it has joined again, or what was set aside may be all that is left.")
	} else {
		r.Lines = append(r.Lines, fmt.Sprintf("This node holds lineage %s up to index %d. Whatever the file has beyond that is lost for good; nothing here compares the two.",
			local.Lineage, local.LastIndex))
	}
	return r, nil
}

// Discard is the operator's `discard`: of the store in use, when an alarm asks
// for it, which then leaves its lineage and is set aside; or of a store that was
// set aside, whose file is then removed. A store is named by its ID, one that was
// set aside also by its file.
func (m *Member) Discard(name string) error {
	aside, err := m.find(name)
	if err != nil {
		return err
	}
	if len(aside) == 0 {
		store, err := protocol.ParseStoreID(name)
		if err != nil {
			return err
		}
		return m.life.replica.Discard(store)
	}
	for i := range aside {
		q := &aside[i]
		if err := m.options.Dir.Remove(q); err != nil {
			return err
		}
		m.options.Logger.Warn("an operator removed a store that was set aside", "file", q.Path, "store", q.Store, "lineage", q.Lineage,
			"bytes", q.Bytes, "set_aside", q.Time.Format(time.RFC3339), "reason", q.Reason)
	}
	m.quarantine.look(m)
	return nil
}

// find looks among the stores that were set aside. None are found for the store
// in use while an alarm asks to give that up, and for one of another node.
func (m *Member) find(name string) (found []wal.Quarantined, err error) {
	store, notID := protocol.ParseStoreID(name)
	if notID == nil && store == m.life.identity.Store {
		if _, err := m.life.replica.PlanDiscard(store); err == nil {
			return nil, nil
		}
	}
	all, err := m.options.Dir.Quarantined()
	if err != nil {
		return nil, err
	}
	file := strings.TrimSuffix(name, ".db")
	for _, q := range all {
		if q.Name() == file || notID == nil && q.Store == store {
			found = append(found, q)
		}
	}
	if len(found) == 0 && notID != nil {
		return nil, fmt.Errorf("discard %s: %w: name a store by its 16 hexadecimal digits or, when it was set aside, by its file; `holdfast status` lists both", name, ErrNotHere)
	}
	return found, nil
}
