package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"holdfast/mesh/transport"
)

// maxCredentialBytes bounds what is read of a secret or certificate file.
const maxCredentialBytes = 1 << 20

// Permissions that a secret or key must not have: reading or more by
// everybody, writing by the group. Reading by the group is allowed, because
// systemd's credentials and a file of root for a service's group look so.
const forbiddenMode fs.FileMode = 0o027

// Secret reads the cluster secret, without white space around it. It is nil
// when no secret_file is configured.
func (c *Config) Secret() ([]byte, error) {
	if c.Cluster.SecretFile == "" {
		return nil, nil
	}
	content, err := readPrivate(c.Cluster.SecretFile)
	if err != nil {
		return nil, err
	}
	secret := bytes.TrimSpace(content)
	if len(secret) < transport.MinSecret {
		return nil, fmt.Errorf("the secret in %s has %d bytes, at least %d are needed (openssl rand -base64 32)", c.Cluster.SecretFile, len(secret), transport.MinSecret)
	}
	return secret, nil
}

// MeshTLS loads the operator's certificates for connections between members.
// It is nil when none are configured.
func (c *Config) MeshTLS() (*tls.Config, error) {
	files := c.Cluster.TLS
	if files == (TLS{}) {
		return nil, nil
	}
	if files.Cert == "" || files.Key == "" || files.CA == "" {
		return nil, errors.New("cert, key and ca are needed, all three")
	}
	certText, err := readAll(files.Cert)
	if err != nil {
		return nil, err
	}
	keyText, err := readPrivate(files.Key)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, fmt.Errorf("load %s with %s: %w", files.Cert, files.Key, err)
	}
	if !slices.Contains(certificate.Leaf.DNSNames, c.Name) {
		return nil, fmt.Errorf("the certificate in %s is for %q: this member's name %q must be among its DNS names", files.Cert, certificate.Leaf.DNSNames, c.Name)
	}
	authorities, err := readAll(files.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", files.CA)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

// readPrivate reads a file that must not be open to everybody.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&forbiddenMode != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %04o): chmod 600 %s", path, mode, path)
	}
	return readAll(path)
}

func readAll(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCredentialBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return content, nil
}
