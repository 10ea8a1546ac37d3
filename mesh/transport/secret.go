package transport

import (
	"crypto/tls"
	"errors"
)

// MinSecret is the least number of bytes of a cluster secret.
const MinSecret = 16

// ErrShortSecret is returned for a secret of fewer than MinSecret bytes.
var ErrShortSecret = errors.New("the cluster secret is too short")

// TLSFromSecret returns the configuration with which member proves to others,
// and checks of others, that they know the secret.
func TLSFromSecret(secret []byte, member string) (*tls.Config, error) {
	return nil, ErrShortSecret
}
