package machine

import (
	"bytes"
	"strings"
)

// router finds the stream that a subject belongs to. The subjects of streams
// do not overlap, so there is at most one.
type router struct {
	literals map[string]*Stream // subjects without wildcards, a short cut
	root     routeNode          // all subjects
}

// routeNode is a token position in the tree of subjects.
type routeNode struct {
	children map[string]*routeNode
	any      *routeNode // "*"
	tail     *Stream    // a subject that ends in ">" here
	here     *Stream    // a subject that ends before this node's next token
}

// match does not allocate.
func (r *router) match(subject []byte) *Stream {
	if s := r.literals[string(subject)]; s != nil {
		return s
	}
	return r.root.match(subject)
}

func (n *routeNode) match(rest []byte) *Stream {
	if n.tail != nil {
		return n.tail
	}
	token, tail, more := bytes.Cut(rest, dot)
	for _, child := range [2]*routeNode{n.children[string(token)], n.any} {
		if child == nil {
			continue
		}
		if more {
			if s := child.match(tail); s != nil {
				return s
			}
		} else if child.here != nil {
			return child.here
		}
	}
	return nil
}

var dot = []byte(".")

func (r *router) add(subject string, s *Stream) {
	if isLiteral(subject) {
		if r.literals == nil {
			r.literals = make(map[string]*Stream)
		}
		r.literals[subject] = s
	}
	n := &r.root
	for token := range strings.SplitSeq(subject, ".") {
		switch {
		case token == anyTail:
			n.tail = s
			return
		case token == anyToken:
			if n.any == nil {
				n.any = &routeNode{}
			}
			n = n.any
		default:
			if n.children == nil {
				n.children = make(map[string]*routeNode)
			}
			if n.children[token] == nil {
				n.children[token] = &routeNode{}
			}
			n = n.children[token]
		}
	}
	n.here = s
}

func (r *router) remove(subject string) {
	delete(r.literals, subject)
	r.root.remove(subject)
}

// remove takes a subject out and reports whether the node is of no use any more.
func (n *routeNode) remove(subject string) bool {
	token, rest, more := strings.Cut(subject, ".")
	child := n.any
	switch {
	case token == anyTail:
		n.tail = nil
		return n.unused()
	case token != anyToken:
		child = n.children[token]
	}
	if child == nil {
		return n.unused()
	}
	useless := false
	if more {
		useless = child.remove(rest)
	} else {
		child.here = nil
		useless = child.unused()
	}
	if useless && token == anyToken {
		n.any = nil
	} else if useless {
		delete(n.children, token)
	}
	return n.unused()
}

func (n *routeNode) unused() bool {
	return len(n.children) == 0 && n.any == nil && n.tail == nil && n.here == nil
}

// collides reports whether a subject below the node, of another stream than
// self, and the given one can match the same literal subject.
func (n *routeNode) collides(subject string, self *Stream) bool {
	if n.tail != nil && n.tail != self {
		return true
	}
	token, rest, more := strings.Cut(subject, ".")
	if token == anyTail && !more {
		return n.hasOther(self)
	}
	meets := func(child *routeNode) bool {
		if child == nil {
			return false
		}
		if more {
			return child.collides(rest, self)
		}
		return child.here != nil && child.here != self
	}
	if meets(n.any) {
		return true
	}
	if token != anyToken {
		return meets(n.children[token])
	}
	for _, child := range n.children {
		if meets(child) {
			return true
		}
	}
	return false
}

// hasOther reports whether a stream other than self has a subject below the node.
func (n *routeNode) hasOther(self *Stream) bool {
	other := func(child *routeNode) bool {
		return child != nil && (child.here != nil && child.here != self || child.tail != nil && child.tail != self || child.hasOther(self))
	}
	if other(n.any) {
		return true
	}
	for _, child := range n.children {
		if other(child) {
			return true
		}
	}
	return false
}
