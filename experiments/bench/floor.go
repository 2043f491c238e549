package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

// floor is the least a token endpoint can be: the same TLS and HTTP, a parsed
// form, a constant-time comparison, one standard-library RS256 signature over a
// payload of the size of ours, and a JSON answer. It keeps nothing and checks
// nothing else; Bulla is measured as a share of it (performance.md, D).
//
// It writes its certificate to caFile and prints its address once it listens.
func floor(caFile string) error {
	cert, authority, err := selfSigned()
	if err != nil {
		return err
	}
	if err := os.WriteFile(caFile, authority, 0o600); err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	secret := []byte("floor-secret-of-sixty-four-characters-0123456789abcdef0123456789")
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"floor-floor-floor-floor"}`))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "form", http.StatusBadRequest)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.PostForm.Get("client_secret")), secret) != 1 {
			http.Error(w, "secret", http.StatusUnauthorized)
			return
		}
		now := time.Now().Unix()
		payload := fmt.Sprintf(`{"iss":"https://localhost:8443/","sub":"%s@clients","aud":"%s","iat":%d,"exp":%d,"azp":"%s","jti":"%s","scope":"read:things","gty":"client-credentials"}`,
			r.PostForm.Get("client_id"), r.PostForm.Get("audience"), now, now+86400, r.PostForm.Get("client_id"), rand.Text()+rand.Text()[:17])
		input := header + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		digest := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		if err != nil {
			http.Error(w, "signature", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": input + "." + base64.RawURLEncoding.EncodeToString(signature),
			"token_type":   "Bearer", "expires_in": 86400, "scope": "read:things",
		})
	})
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	fmt.Printf("floor: ready https://%s/\n", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
	}}
	return server.ServeTLS(listener, "", "")
}

// selfSigned is a certificate for localhost that is its own authority.
func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "floor"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
