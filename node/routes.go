package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/mesh/transport"
	"holdfast/node/config"
)

// What follows is for what nats.include leaves open.
const (
	// routeTLSTimeoutSeconds bounds the TLS handshake of a route.
	routeTLSTimeoutSeconds = 5

	// The NATS servers ping each other over every route and close it when so many
	// pings have no answer: after 10 to 12 seconds. Until then they route messages
	// to a host that has vanished. A route that cannot get rid of its bytes for as
	// long is closed by the NATS server anyway (its write deadline). The server's
	// own 30 s and 2 pings would make it 90 s.
	routePingInterval = 2 * time.Second
	routePingsOut     = 5

	// onePerPair connects two servers once. By default it is four times, so that
	// accounts do not share a connection; that makes each start four times as
	// costly, and while the four come up one after the other, what was said to be
	// in reach is out of it again for a moment.
	onePerPair = -1
)

// addRoutes joins the embedded servers of all members to one NATS cluster, so
// that a client of any node reaches the leader. Routes are encrypted and
// authenticated with the operator's certificates or the cluster secret, as mesh
// connections are.
func addRoutes(opts *server.Options, cfg *config.Config, secret []byte, operator *tls.Config) error {
	if len(cfg.Cluster.Members) < 2 {
		return nil
	}
	host, port, err := splitAddress(cfg.NATS.Routes)
	if err != nil {
		return fmt.Errorf("nats.routes: %w", err)
	}
	opts.Cluster.Name = cfg.Cluster.Name
	opts.Cluster.Host, opts.Cluster.Port = host, port
	opts.Cluster.NoAdvertise = true
	opts.Cluster.TLSTimeout = routeTLSTimeoutSeconds
	if opts.Cluster.PingInterval == 0 && opts.Cluster.MaxPingsOut == 0 {
		opts.Cluster.PingInterval, opts.Cluster.MaxPingsOut = routePingInterval, routePingsOut
	}
	if opts.Cluster.PoolSize == 0 {
		opts.Cluster.PoolSize = onePerPair
	}
	var certificates *tls.Config
	switch {
	case operator != nil:
		certificates = withoutHostNames(operator)
	case len(secret) > 0:
		if certificates, err = transport.TLSFromSecret(secret, cfg.Name); err != nil {
			return fmt.Errorf("set up TLS for routes: %w", err)
		}
	}
	if certificates != nil {
		opts.Cluster.TLSConfig = newCrossing(cfg).guard(certificates)
	}
	for _, member := range cfg.Cluster.Members {
		if member.Name != cfg.Name {
			opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: member.Routes})
		}
	}
	return nil
}

// withoutHostNames returns a configuration that accepts every certificate of the
// operator's authority: the NATS server dials routes by address, and the
// certificates carry the members' names.
func withoutHostNames(operator *tls.Config) *tls.Config {
	cfg := operator.Clone()
	cfg.InsecureSkipVerify = true // the chain is verified below, the host name is not
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, certificate := range state.PeerCertificates[1:] {
			intermediates.AddCert(certificate)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: operator.RootCAs, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		return err
	}
	return cfg
}
