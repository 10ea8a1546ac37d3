package bus

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// linkUser is the user name that goes with the link's random password.
	linkUser = "holdfast"
	// handshakeTimeout bounds each wait for the server while attaching. The
	// server itself gives up a handshake after two seconds.
	handshakeTimeout = 2 * time.Second
)

// connectOptions is the part of the server's CONNECT that the link looks at.
type connectOptions struct {
	User     string `json:"user"`
	Password string `json:"pass"`
	Headers  bool   `json:"headers"`
}

// leafInfo is the INFO that the link sends. The server takes a connection for
// a leaf's only when client_id is not 0 and leafnode_urls is not null.
type leafInfo struct {
	ID            string   `json:"server_id"`
	Name          string   `json:"server_name"`
	Version       string   `json:"version"`
	Headers       bool     `json:"headers"`
	MaxPayload    int      `json:"max_payload"`
	AuthRequired  bool     `json:"auth_required"`
	ClientID      uint64   `json:"client_id"`
	Cluster       string   `json:"cluster"`
	LeafNodeURLs  []string `json:"leafnode_urls"`
	Compression   string   `json:"compression"`
	InfoOnConnect bool     `json:"info_on_connect"`
	ConnectInfo   bool     `json:"connect_info,omitempty"`
	RemoteAccount string   `json:"remote_account,omitempty"`
}

func (i leafInfo) line() []byte {
	body, err := json.Marshal(i)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	return append(append([]byte("INFO "), body...), "\r\n"...)
}

// handshake plays the accepting side of a leaf connection: INFO, the server's
// CONNECT with our credential, INFO again, which registers the connection with
// the account, and a PING whose PONG tells that this was done. The name that it
// draws is what the server lists the connection under.
func (r *reader) handshake() (name string, err error) {
	l := r.link
	info := leafInfo{
		ID:           rand.Text(),
		Version:      server.VERSION,
		Headers:      true,
		MaxPayload:   maxInboundPayload,
		AuthRequired: true,
		ClientID:     1,
		Cluster:      l.options.LeafCluster,
		LeafNodeURLs: []string{},
		Compression:  server.CompressionNotSupported,

		InfoOnConnect: true,
	}
	info.Name = "holdfast-" + info.ID
	if err := r.send(info.line()); err != nil {
		return "", err
	}
	op, err := r.await(opConnect, nil)
	if err != nil {
		return "", fmt.Errorf("wait for CONNECT: %w", err)
	}
	var connect connectOptions
	if err := json.Unmarshal(op.args, &connect); err != nil {
		return "", fmt.Errorf("read CONNECT: %w", err)
	}
	user := subtle.ConstantTimeCompare([]byte(connect.User), []byte(linkUser))
	password := subtle.ConstantTimeCompare([]byte(connect.Password), []byte(l.password))
	if user&password != 1 {
		return "", errors.New("wrong credential")
	}
	r.parser.maxPayload = maxInboundPayload
	if !connect.Headers {
		return "", errors.New("the server has headers switched off, JetStream clients need them: remove no_header_support from its configuration")
	}
	info.ConnectInfo, info.RemoteAccount = true, l.options.Account
	if err := r.send(info.line(), []byte("PING\r\n")); err != nil {
		return "", err
	}
	if _, err := r.await(opPong, nil); err != nil {
		return "", fmt.Errorf("wait for the server to register the link: %w", err)
	}
	return info.Name, nil
}

// lift removes the denies that the server puts on every leaf: $JS.API.>, $KV.>
// and $OBJ.>. RegisterUser with a user without permissions is what the server
// offers to custom authenticators; it clears them on this connection alone. The
// limit of a payload goes as well, see unlimit.
func lift(host *server.Server, name string) error {
	leafs, err := host.Leafz(nil)
	if err != nil {
		return fmt.Errorf("list the server's leaf connections: %w", err)
	}
	for _, leaf := range leafs.Leafs {
		if leaf.Name != name {
			continue
		}
		client := host.GetLeafNode(leaf.ID)
		if client == nil {
			break
		}
		client.RegisterUser(&server.User{})
		return unlimit(client)
	}
	return errors.New("the server does not list the link among its leaf connections")
}

// accept takes connections until the listener is closed. Each one has to prove
// within handshakeTimeout that it is our server.
func (l *Link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			if l.isClosed() {
				return
			}
			l.log.Warn("the NATS server's connection to the bus could not be accepted", "error", err)
			select { // out of file descriptors: do not spin
			case <-l.closed:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		l.group.Go(func() { l.welcome(conn) })
	}
}

// welcome makes an accepted connection the current one, if it is our server's.
func (l *Link) welcome(conn net.Conn) {
	r := newReader(l, conn)
	name, err := r.handshake()
	if err != nil {
		r.close()
		if !l.isClosed() {
			l.log.Warn("a connection to the bus was refused", "from", conn.RemoteAddr().String(), "error", err)
			l.fail(err)
		}
		return
	}
	r.name = name
	l.mu.Lock()
	if l.isClosed() {
		l.mu.Unlock()
		r.close()
		return
	}
	if l.current != nil {
		_ = l.current.Close() // the server has given up the one before
	}
	l.current = conn
	l.mu.Unlock()
	select {
	case l.incoming <- r:
	case <-l.closed:
		r.close()
	}
}
