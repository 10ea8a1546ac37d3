package transport

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// MinSecret is the least number of bytes of a cluster secret.
const MinSecret = 16

// ErrShortSecret is wrapped by the error for a secret of fewer than MinSecret
// bytes.
var ErrShortSecret = errors.New("the cluster secret is too short")

// secretPurpose separates this key from any other use of the same secret.
const secretPurpose = "holdfast mesh certificate authority 1"

// Certificates from the secret are valid for as long as certificates can be:
// a node without a battery-backed clock starts in 1970, and must be let in to
// learn better. The member's key lives in this process's memory alone, so what
// ends its use is the end of the process, or a new secret.
var (
	validFrom  = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280, 4.1.2.5: no expiry
)

// TLSFromSecret returns the configuration with which member proves to others,
// and checks of others, that they know the secret. It serves both ends of a
// connection.
//
// The secret gives the Ed25519 key of a certificate authority (HKDF-SHA256,
// RFC 5869), the same on every node; the authority signs a certificate for a
// key that is drawn now and never stored. TLS 1.3 proves possession of that key
// for the very session that is used, so nobody in the middle can pass the proof
// on. The peer may have any name; a caller that expects one compares it with
// the DNS names of the peer's certificate.
//
// HKDF does not make a guessable secret strong: draw it at random
// (openssl rand -base64 32).
func TLSFromSecret(secret []byte, member string) (*tls.Config, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("derive certificates: %w: %d bytes, at least %d are needed (openssl rand -base64 32)", ErrShortSecret, len(secret), MinSecret)
	}
	authority, authorityKey, err := authorityFromSecret(secret)
	if err != nil {
		return nil, fmt.Errorf("derive certificates: %w", err)
	}
	certificate, err := issue(authority, authorityKey, member)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s: %w", member, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    roots,
		RootCAs:      roots,
		// The standard check would demand the host name that was dialled, which
		// is not a member's name. VerifyConnection checks the chain instead, on
		// both ends.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyChain(state.PeerCertificates, roots)
		},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}, nil
}

func authorityFromSecret(secret []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, secretPurpose, ed25519.SeedSize)
	if err != nil {
		return nil, nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "holdfast cluster secret"},
		NotBefore:             validFrom,
		NotAfter:              validUntil,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

func issue(authority *x509.Certificate, authorityKey ed25519.PrivateKey, member string) (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(2)), // 1 is the authority's
		Subject:      pkix.Name{CommonName: member},
		DNSNames:     []string{member},
		NotBefore:    validFrom,
		NotAfter:     validUntil,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, public, authorityKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

var errNoCertificate = errors.New("the other end shows no certificate")

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return errNoCertificate
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:     roots,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("the other end does not know the cluster secret: %w", err)
	}
	return nil
}

// prepareTLS returns the configurations for accepting and, given a member's
// name, for dialling; both nil when connections are plain.
func prepareTLS(options *Options) (accepting *tls.Config, dialling func(name string) *tls.Config, err error) {
	base := options.TLS
	switch {
	case base != nil:
		if len(base.Certificates) == 0 && base.GetCertificate == nil || base.RootCAs == nil || base.ClientCAs == nil {
			return nil, nil, errors.New("the TLS configuration needs a certificate, RootCAs and ClientCAs")
		}
		if base.InsecureSkipVerify && base.VerifyConnection == nil {
			return nil, nil, errors.New("the TLS configuration does not verify the other end")
		}
		base = base.Clone()
		base.MinVersion = tls.VersionTLS13
		base.ClientAuth = tls.RequireAndVerifyClientCert
		base.SessionTicketsDisabled = true
		base.DynamicRecordSizingDisabled = true
	case options.Secret != nil:
		if base, err = TLSFromSecret(options.Secret, options.Self); err != nil {
			return nil, nil, err
		}
	default:
		return nil, func(string) *tls.Config { return nil }, nil
	}
	dialling = func(name string) *tls.Config {
		config := base.Clone()
		config.ServerName = name
		return config
	}
	return base, dialling, nil
}

// certifies checks that the other end's certificate is for name. On a plain
// connection, where nothing is proven, every name passes.
func certifies(state *tls.ConnectionState, name string) error {
	if state == nil {
		return nil
	}
	if len(state.PeerCertificates) == 0 {
		return errNoCertificate
	}
	if names := state.PeerCertificates[0].DNSNames; !slices.Contains(names, name) {
		return fmt.Errorf("the certificate is for %q, not for %s", names, name)
	}
	return nil
}
