package grpcverify

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/verify"
)

const (
	issuer   = "https://issuer.example/"
	audience = "https://api.example/"
	check    = "/grpc.health.v1.Health/Check"
	watch    = "/grpc.health.v1.Health/Watch"
	service  = "/grpc.health.v1.Health/"
)

var (
	secret = bytes.Repeat([]byte("s3cret--"), 4)
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func token(t testing.TB, signer []byte, scope string) string {
	t.Helper()
	payload := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"auth0|7","exp":%d,"scope":%q}`, issuer, audience, noon.Add(time.Hour).Unix(), scope)
	raw, err := jose.NewEncoder(jose.Header{Alg: jose.HS256, Typ: "at+jwt"}, jose.NewHMACSigner(signer)).Encode(nil, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func verifier(t testing.TB, change func(*verify.Options)) *verify.Verifier {
	t.Helper()
	o := verify.Options{Issuer: issuer, Audience: []string{audience}, Secret: secret, Now: func() time.Time { return noon }}
	if change != nil {
		change(&o)
	}
	v, err := verify.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// subjects is a service that answers with success to who has Claims, and
// otherwise that it does not know the caller.
type subjects struct {
	grpc_health_v1.UnimplementedHealthServer
}

func answer(ctx context.Context) *grpc_health_v1.HealthCheckResponse {
	if c, ok := verify.FromContext(ctx); ok && c.Subject() == "auth0|7" {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN}
}

func (subjects) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return answer(ctx), nil
}

func (subjects) Watch(_ *grpc_health_v1.HealthCheckRequest, s grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	return s.Send(answer(s.Context()))
}

// client serves and dials in memory.
func client(t *testing.T, v *verify.Verifier, o *Options) grpc_health_v1.HealthClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(Unary(v, o)), grpc.StreamInterceptor(Stream(v, o)))
	grpc_health_v1.RegisterHealthServer(server, subjects{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return grpc_health_v1.NewHealthClient(conn)
}

// call makes the call as unary and as stream and returns what each was told.
func call(t *testing.T, c grpc_health_v1.HealthClient, headers []string) map[string]string {
	t.Helper()
	ctx := t.Context()
	for _, h := range headers {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h)
	}
	told := func(r *grpc_health_v1.HealthCheckResponse, err error) string {
		switch {
		case err != nil:
			return status.Code(err).String() + ": " + status.Convert(err).Message()
		case r.Status == grpc_health_v1.HealthCheckResponse_SERVING:
			return "auth0|7"
		}
		return "nobody"
	}
	out := map[string]string{check: told(c.Check(ctx, &grpc_health_v1.HealthCheckRequest{}))}
	stream, err := c.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	out[watch] = told(stream.Recv())
	return out
}

// SEC-103, SEC-104: what each placement of a token is answered, unary and stream.
func TestInterceptors(t *testing.T) {
	t.Parallel()
	good, forged := token(t, secret, "a read:messages"), token(t, bytes.Repeat([]byte("x"), 32), "a read:messages")
	tests := map[string]struct {
		headers []string
		options *Options
		want    string
	}{
		"good":                       {[]string{"Bearer " + good}, nil, "auth0|7"},
		"scheme in lower case":       {[]string{"bearer " + good}, nil, "auth0|7"},
		"no token":                   {nil, nil, "Unauthenticated: call without a bearer token"},
		"another scheme":             {[]string{"Basic YTpi"}, nil, "Unauthenticated: call without a bearer token"},
		"scheme alone":               {[]string{"Bearer"}, nil, "Unauthenticated: not exactly one bearer token"},
		"two tokens":                 {[]string{"Bearer " + good, "Bearer " + good}, nil, "Unauthenticated: not exactly one bearer token"},
		"two in one":                 {[]string{"Bearer " + good + " " + good}, nil, "Unauthenticated: not exactly one bearer token"},
		"forged":                     {[]string{"Bearer " + forged}, nil, "Unauthenticated: bad signature"},
		"junk":                       {[]string{"Bearer x"}, nil, "Unauthenticated: malformed token"},
		"public, no token":           {nil, &Options{Public: []string{service}}, "nobody"},
		"public methods, no token":   {nil, &Options{Public: []string{check, watch}}, "nobody"},
		"others are public":          {nil, &Options{Public: []string{"/grpc.health.v1.Health", "/grpc.health.v1.", "/", ""}}, "Unauthenticated: call without a bearer token"},
		"public, good token":         {[]string{"Bearer " + good}, &Options{Public: []string{service}}, "auth0|7"},
		"public, bad token":          {[]string{"Bearer " + forged}, &Options{Public: []string{service}}, "Unauthenticated: bad signature"},
		"public, but needs a scope":  {nil, &Options{Public: []string{service}, Scopes: map[string][]string{service: {"a"}}}, "Unauthenticated: call without a bearer token"},
		"has the scope":              {[]string{"Bearer " + good}, &Options{Scopes: map[string][]string{service: {"read:messages", "a"}}}, "auth0|7"},
		"lacks one of two":           {[]string{"Bearer " + good}, &Options{Scopes: map[string][]string{service: {"a", "b"}}}, "PermissionDenied: insufficient scope"},
		"has a longer one":           {[]string{"Bearer " + good}, &Options{Scopes: map[string][]string{service: {"read"}}}, "PermissionDenied: insufficient scope"},
		"method before service":      {[]string{"Bearer " + good}, &Options{Scopes: map[string][]string{service: {"b"}, check: {"a"}, watch: nil}}, "auth0|7"},
		"method before service, not": {[]string{"Bearer " + good}, &Options{Scopes: map[string][]string{service: {"a"}, check: {"b"}, watch: {"b"}}}, "PermissionDenied: insufficient scope"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for method, got := range call(t, client(t, verifier(t, nil), tt.options), tt.headers) {
				if got != tt.want {
					t.Errorf("%s: %s, want %s", method, got, tt.want)
				}
			}
		})
	}
}

// What cannot be known at the moment is no refusal of the token, and the
// reason is for the server's log alone.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	v := verifier(t, func(o *verify.Options) {
		o.Secret = nil
		o.Algorithms = []string{"RS256"}
		o.Fetch = func(context.Context) ([]byte, error) { return nil, fmt.Errorf("dial db.internal: refused") }
	})
	header := `{"alg":"RS256","kid":"k"}`
	raw := strings.Replace(token(t, secret, ""), strings.Split(token(t, secret, ""), ".")[0], b64(header), 1)
	var mu sync.Mutex
	told := map[string]string{}
	o := &Options{OnError: func(_ context.Context, method string, err error) {
		mu.Lock()
		defer mu.Unlock()
		told[method] = err.Error()
	}}
	for method, got := range call(t, client(t, v, o), []string{"Bearer " + raw}) {
		if got != codes.Unavailable.String()+": cannot tell at the moment" {
			t.Errorf("%s: %s, want Unavailable", method, got)
		}
		if !strings.Contains(told[method], "db.internal") || strings.Contains(told[method], raw) {
			t.Errorf("%s: OnError was told %q, want the reason and nothing of the token", method, told[method])
		}
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
