package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/config"
)

// natsReadyTimeout bounds how long the embedded server may take to listen.
const natsReadyTimeout = 10 * time.Second

// keptClosedClients is how many connections the embedded server remembers after
// they were closed, for its own monitor, unless the included configuration says
// something else: at about 1 KB each, its default of 10,000 is more than everything
// else that a small node has in memory.
const keptClosedClients = 500

// natsOptions are the options of the embedded server: those of the included NATS
// configuration, and on top of them what belongs to this node.
func natsOptions(opts *server.Options, cfg *config.Config, secret []byte, operator *tls.Config, leafs ...*server.RemoteLeafOpts) (*server.Options, error) {
	host, port, err := splitAddress(cfg.NATS.Listen)
	if err != nil {
		return nil, fmt.Errorf("nats.listen: %w", err)
	}
	opts.ServerName = cfg.Name
	opts.Host, opts.Port = host, port
	// Nearly every answer has a subject of its own, so the cache of which subscriptions
	// a subject has would only be filled and swept.
	opts.NoSublistCache = true
	opts.NoSigs = true
	opts.NoLog = true
	if opts.MaxClosedClients == 0 {
		opts.MaxClosedClients = keptClosedClients
	}
	opts.LeafNode.Remotes = append(opts.LeafNode.Remotes, leafs...)
	opts.LeafNode.ReconnectInterval = 50 * time.Millisecond
	if err := addRoutes(opts, cfg, secret, operator); err != nil {
		return nil, err
	}
	return opts, nil
}

// splitAddress splits HOST:PORT. The NATS server takes port 0 for its default
// port and -1 for a free one; here 0 means a free one.
func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("address %q: bad port", address)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// startNATS prepares and starts the embedded server and waits until it takes
// connections, those of clients only if it listens for them.
func startNATS(opts *server.Options, prepare func(*server.Server) error, logger *slog.Logger) (*server.Server, *natsLogger, error) {
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("set up the NATS server: %w", err)
	}
	if err := prepare(srv); err != nil {
		return nil, nil, fmt.Errorf("set up the NATS server: %w", err)
	}
	log := &natsLogger{logger: logger.With("part", "nats"), fatal: make(chan string, 1)}
	srv.SetLoggerV2(log, opts.Debug, opts.Trace, false)
	go srv.Start()
	ready := make(chan bool, 1)
	go func() { ready <- srv.ReadyForConnections(natsReadyTimeout) }()
	select {
	case message := <-log.fatal:
		srv.Shutdown()
		return nil, nil, errors.New(message)
	case ok := <-ready:
		if !ok {
			srv.Shutdown()
			return nil, nil, fmt.Errorf("the NATS server does not listen on %s after %s", net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port)), natsReadyTimeout)
		}
	}
	return srv, log, nil
}

// admitClients opens the port for clients of a server that did not.
func admitClients(srv *server.Server, log *natsLogger) error {
	listening := make(chan struct{})
	go srv.AcceptLoop(listening)
	<-listening
	select {
	case message := <-log.fatal:
		return errors.New(message)
	default:
		return nil
	}
}

// natsLogger writes the embedded server's messages into our log. What the NATS
// server says at "notice" level about its own life is of use only when something
// is being looked for, so it goes to the debug level.
type natsLogger struct {
	logger *slog.Logger
	fatal  chan string
}

func (l *natsLogger) Noticef(format string, v ...any) { l.logger.Debug(fmt.Sprintf(format, v...)) }
func (l *natsLogger) Debugf(format string, v ...any)  { l.logger.Debug(fmt.Sprintf(format, v...)) }
func (l *natsLogger) Tracef(format string, v ...any)  { l.logger.Debug(fmt.Sprintf(format, v...)) }
func (l *natsLogger) Warnf(format string, v ...any)   { l.log(slog.LevelWarn, fmt.Sprintf(format, v...)) }
func (l *natsLogger) Errorf(format string, v ...any) {
	l.log(slog.LevelError, fmt.Sprintf(format, v...))
}

// knownToUs are messages that would mislead: a member that is down is told of by
// the mesh, with its name, also when the NATS server was just writing to it; a
// client that went away is no error of ours; and the certificates of routes are
// verified, by a function that the NATS server does not see.
var knownToUs = []string{"Error trying to connect to route", "Error flushing", "hostname of solicited routes will not be verified"}

// goneAway are the ends of a handshake with a member that went down meanwhile. Whatever
// else ends one, such as another secret, is to be told.
var goneAway = []string{": EOF", ": connection reset by peer", ": broken pipe"}

func (l *natsLogger) log(level slog.Level, message string) {
	handshake := strings.Contains(message, "TLS route handshake error")
	if slices.ContainsFunc(knownToUs, func(known string) bool { return strings.Contains(message, known) }) ||
		handshake && slices.ContainsFunc(goneAway, func(end string) bool { return strings.HasSuffix(message, end) }) {
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, message)
}

// Fatalf keeps the message for startNATS: the NATS server would end the process.
func (l *natsLogger) Fatalf(format string, v ...any) {
	message := fmt.Sprintf(format, v...)
	select {
	case l.fatal <- message:
	default:
		l.logger.Error(message)
	}
}
