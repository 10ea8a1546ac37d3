package node

import (
	"io"
	"net/http"
	"strings"

	"holdfast/mesh"
)

// serveOperator serves `holdfast found` and `holdfast discard` (rule P7), each
// in two steps: GET says what the command would do and risk, and changes nothing;
// POST does it. The confirmation in between is asked for where the person is.
func (n *Node) serveOperator(mux *http.ServeMux) {
	mux.HandleFunc("GET /found", fromThisMachine(func(w http.ResponseWriter, r *http.Request) {
		n.answerPlan(w, func() (mesh.Risk, error) { return n.member.PlanFound(names(r)) })
	}))
	mux.HandleFunc("POST /found", fromThisMachine(func(w http.ResponseWriter, r *http.Request) {
		n.answer(w, func() error { return n.member.Found(names(r)) },
			func() string { return "ordered; `holdfast status` tells how far it is\n" })
	}))
	mux.HandleFunc("GET /discard", fromThisMachine(func(w http.ResponseWriter, r *http.Request) {
		n.answerPlan(w, func() (mesh.Risk, error) { return n.member.PlanDiscard(r.FormValue("store")) })
	}))
	mux.HandleFunc("POST /discard", fromThisMachine(func(w http.ResponseWriter, r *http.Request) {
		n.answer(w, func() error { return n.member.Discard(r.FormValue("store")) },
			func() string { return "done; `holdfast status` tells what follows\n" })
	}))
}

// names are the members that a request treats as absent.
func names(r *http.Request) []string {
	var without []string
	for _, name := range strings.Split(r.FormValue("without"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			without = append(without, name)
		}
	}
	return without
}

func (n *Node) answerPlan(w http.ResponseWriter, plan func() (mesh.Risk, error)) {
	var risk mesh.Risk
	n.answer(w, func() (err error) {
		risk, err = plan()
		return err
	}, func() string { return strings.Join(risk.Lines, "\n") + "\n" })
}

// answer runs act on the loop, and says what it says or why not.
func (n *Node) answer(w http.ResponseWriter, act func() error, says func() string) {
	var err error
	if callErr := n.call(func() { err = act() }); callErr != nil {
		err = callErr
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	io.WriteString(w, says())
}
