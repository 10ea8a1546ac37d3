package bus

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// probe publishes one JetStream API request as a client of the server and
// waits until it arrives over the link. It fails when the server denies the
// API to the link, which would otherwise show only as requests without answers.
// Where no client can be there is no test.
func (r *reader) probe() error {
	if r.link.options.Closed {
		return nil
	}
	subject := "$JS.API.HOLDFAST.PROBE." + rand.Text()
	s := subscription{subject: subject}
	if err := r.send(s.appendSubscribe(nil, 0), []byte("PING\r\n")); err != nil {
		return err
	}
	if _, err := r.await(opPong, nil); err != nil {
		return fmt.Errorf("subscribe to a JetStream API request: %w", err)
	}
	options := &r.link.options
	if err := publishAsClient(r.link.host, options, subject); err != nil {
		return fmt.Errorf("publish a JetStream API request as a client: %w", err)
	}
	if _, err := r.await(opMessage, []byte(subject)); err != nil {
		return fmt.Errorf("the server %s does not pass JetStream API requests on to the link; this version of the server cannot be used: %w", server.VERSION, err)
	}
	return r.send(s.appendUnsubscribe(nil))
}

// publishAsClient publishes an empty message over an in-process connection and
// returns when the server has routed it.
func publishAsClient(host *server.Server, options *Options, subject string) error {
	conn, err := host.InProcessConn()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	lines := bufio.NewReader(conn)
	var info struct {
		AuthRequired bool `json:"auth_required"`
		TLSRequired  bool `json:"tls_required"`
	}
	first, err := lines.ReadString('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(first, "INFO ")), &info); err != nil {
		return fmt.Errorf("read INFO: %w", err)
	}
	if info.AuthRequired && options.User == "" && options.Token == "" {
		return errors.New("the server requires a user: give the bus one of its account")
	}
	connect, err := json.Marshal(map[string]any{
		"verbose": false, "pedantic": false, "echo": false,
		"name": "holdfast self-test", "lang": "go", "version": server.VERSION,
		"user": options.User, "pass": options.Password, "auth_token": options.Token,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s\r\nPUB %s 0\r\n\r\nPING\r\n", connect, subject); err != nil {
		return err
	}
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "PONG"):
			return nil
		case strings.HasPrefix(line, "-ERR"):
			return errors.New(strings.TrimSpace(line))
		}
	}
}
