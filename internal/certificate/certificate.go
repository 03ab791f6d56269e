// Package certificate makes certificates that sign themselves, for a lab's own Ingress.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Verb is what the tool `./class secret` is told, and EnvHost the variable that has the
// host.
const (
	Verb    = "certificate"
	EnvHost = "BOOTCAMP_HOST"
)

// Valid is how long a certificate is good for; a new one is made by
// `pulumi up --replace` with the command's URN.
const Valid = 365 * 24 * time.Hour

// Pair is a certificate and its private key, both in PEM.
type Pair struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// New makes a certificate for a host, good from a minute before now, for the clocks of
// two machines differ. The host must be a name of the DNS, without a wildcard.
func New(host string, now time.Time) (*Pair, error) {
	if problems := validation.IsDNS1123Subdomain(host); len(problems) > 0 {
		return nil, fmt.Errorf("%s = %q: allowed is a host's name: %s", EnvHost, host, problems[0])
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	begin := now.Add(-time.Minute).UTC()
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: host},
		DNSNames:     []string{host},
		NotBefore:    begin,
		NotAfter:     begin.Add(Valid),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// It vouches for itself alone: whoever trusts it trusts no other certificate.
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	block := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return &Pair{Certificate: block("CERTIFICATE", der), Key: block("PRIVATE KEY", private)}, nil
}

// String is a pair in one line, as Parse reads it.
func (p *Pair) String() string {
	line, err := json.Marshal(p)
	if err != nil {
		panic(err) // of two strings
	}
	return string(line)
}

// Parse reads what String wrote. Its error shows nothing of it.
func Parse(printed string) (*Pair, error) {
	var p Pair
	if json.Unmarshal([]byte(printed), &p) != nil || p.Certificate == "" || p.Key == "" {
		return nil, errors.New("`./class secret " + Verb + "` printed no certificate and key")
	}
	return &p, nil
}
