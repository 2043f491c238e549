//go:build openssl && linux

package openssl

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
)

// The key and the answer of the self-test. The key was made for it and signs
// nothing else, so that it is no secret; the answer is the standard library's.
const knownKey = "" +
	"MIIEowIBAAKCAQEAzqiuCZTOnxlmvYKqUlbiMlBxLFh4S7fdwEq1d8HNXuJu0YGYVu67WFF3P2OCzAgevApbbI2tEAk3irupEdvv" +
	"XPEQ/jOfzV0/2LHotyKtAOgxcCmQTMjeHYbnnlC8USBfZS2AYLcS5XT8u977CXdpeMYURINGswx5hsL93kN7kSLyqJlea3c8fXkd" +
	"7fNetRK8qHiraD8KA3Ag1zW0WutIwqOr8ItuI7CkVTFVp2mQrKo5FdOhFx4/xKLhCe3xBV65lLTOYmO8+pO6PpFFtZczY0Rmdibh" +
	"BUdnXwpj9iBZM28/dkYe6v5eh3swva5CjGju0zdvZI9cUvhZ6mjYgIzGmwIDAQABAoIBABFgv9nQaJuaYDhZb4cjBTxj5VBsVBlR" +
	"6dTMs3vRkTqEYfs+IZhV1O01VIjBDnOnzyXS3SNAuqfZjpEc/LeivfsbzmkB4FM9nyvSshYMVW35GIctB5RdY8gp2vpGIb/UsBDr" +
	"BZucaXtgHgySUJvYLcdZKMUmIODXkLSTWxPAqvhmSBszBB1qiQqhgG3SDJBXAdnpBEn2V0l+B2xohxlLO6A7BoHasJoyJ7Mfm5rh" +
	"Jp7JiFaH4cJW3of8gKiE8jvgv1X+NslOt54WGvlASP15LdbNBmaMwUfvaOg9/s71g4TAw5uR1qqCdAnPKlUWg/RV82dn2Rw+n73l" +
	"h6TKRKf0JDkCgYEA+tuklQhmtn43GFcjpFBwWthUQ2gDxz18O++HmQJq1Pn/pvDTqbNl0lhW4T1o51N6y0VbXgv35rPGuf9Fmux6" +
	"wdDty5qbFjJxMrNKZuiOMOj09/5LBz4EBcrMQM88JVqki5h1o6EAx7ia4PTymeyAUpRd0iQiwEOOeAd8Y7mVFicCgYEA0uUbGG3b" +
	"l7v4KNTlczWw0egqEHBWs+SYwhd7Z03NYaVOd1L/g+veCIKTcQAaJAhN5WFYVeSch3qJtzq1NxM5YlbGL1nCwWiAgAxzCRV+SbDC" +
	"TJ/BGhVFepYywQvXUB/CF5WnILyhQy5rbjLiWgip3XLFtWcVyllmX5J40KZp6G0CgYBeM1CwbkEz0l2aFE7cCyDF3Gp4DX0tulcG" +
	"osIGoTPA2kg4RkMVfLqFrIqjdk4IX/7Cij7vKAtlZKkBe2yF6ruGQJCrXllSkoqTgWQ1FKsgjro+zg0aoR0dl7PvumJZnJohmZTD" +
	"Z1hFp3rxcsoPJxJg8DnzCYLLNBMx243IXQ4xDQKBgAHTF5vrf2Xdq3T2+pE3mrMGNi70OdvOk3/CYj/vjWJV4srnfexvQvmB37Kv" +
	"lIpRRBNC91eu5afKaJycNmsmkG2IYKiSNzwjIlF5Shl/BRuwGs4855fJLVO1LvU6m/9GdxBrLAn9d8u0ABvw9sJeptGSp6E9JhQd" +
	"F+SlyMPNXMc1AoGBAPAqAA81i/W48vO6pOqJRF3rWhWaaE/xlWR/TxbTFacqSpkftZ/+q8Mb38YE8//Itf//XkYGQRIkNbJ++6e+" +
	"/lxW+FDLUgJnODyAgNVqWk7vfZdR4OlbhyQ5Ml0NY3iqVDBnUQdACEimc6c8uiCJ1VSJ7AP5YaGluMzbWWs42gWU"

const knownSignature = "" +
	"LhkWi01HTpHkif61XCS9PNJH1Hi2M4ev6Rk8fTOpoAsYP+TGy0kHZEqy845Wh+vl7tqoze/Gs3+JeoGZBbPrSn3manDi7g/4wj0a" +
	"MtxXSETCOOY6Wp3RfHAhjF3f6vA+jgkW3iP2V1NC9Bwrt337lfF+Z5y4Mp9aBeokVf7J8IscWl7MrTm2Y5U0T2i/wob2LChZNDuN" +
	"KMNBzobbkJ9tZsJ7OU9l4ozDqcoebMITaR5CA+gvS6pVGwrwgENQdO39IWHzdqQo/OvlCg3la3jQtGOjgTqGFiouW824MbsUv8zj" +
	"GHpXCAkOjEzsBHwx7iWU70OKq2XhEAX1oK8TU73Icg=="

// selfTest signs with a known key: PKCS #1 v1.5 has one right answer, and of PSS
// the standard library tells. load hands a key to the library.
func selfTest(load func(*rsa.PrivateKey) (Signer, error)) error {
	der, err := base64.StdEncoding.DecodeString(knownKey)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return err
	}
	want, err := base64.StdEncoding.DecodeString(knownSignature)
	if err != nil {
		return err
	}
	s, err := load(key)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	sum := sha256.Sum256([]byte("known answer"))
	got, err := s.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("self-test: wrong answer of PKCS #1 v1.5")
	}
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	if got, err = s.Sign(nil, sum[:], pss); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, sum[:], got, pss) != nil {
		return errors.New("self-test: wrong answer of PSS")
	}
	return nil
}
