// Package grpcverify is package verify for servers of google.golang.org/grpc:
// interceptors that let only calls with a valid token through.
//
// It promises that a handler behind them sees verified Claims, by
// verify.FromContext, and that the status tells what a client should do:
// Unauthenticated, get another token; PermissionDenied, this token will not do;
// Unavailable, try again, the token may be good.
//
// It refuses calls with several tokens, tokens in other places than the
// "authorization" metadata, and every method that Options does not name as
// public. It is a package of its own so that nobody else links gRPC.
package grpcverify

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bulla-auth/bulla/verify"
)

// Options configure the interceptors. Nil means the defaults.
type Options struct {
	// Public are full method names, "/package.Service/Method", or a service's
	// prefix, "/package.Service/", that need no token. A good one gives Claims
	// all the same; a bad one is refused, and a method that needs scopes is not
	// public.
	Public []string
	// Scopes are needed for a method or a service, named as in Public, beside a
	// valid token: all of them. The method's name counts before the service's.
	Scopes map[string][]string
	// OnError is told why a call was refused, for a log or a metric. The error
	// holds nothing of the token.
	OnError func(ctx context.Context, method string, err error)
}

// Unary returns an interceptor for unary calls.
func Unary(v *verify.Verifier, opts *Options) grpc.UnaryServerInterceptor {
	g := newGate(v, opts)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := g.enter(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream returns an interceptor for streams. The token is judged when the
// stream begins; a stream that lives for long outlives it.
func Stream(v *verify.Verifier, opts *Options) grpc.StreamServerInterceptor {
	g := newGate(v, opts)
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := g.enter(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		return handler(srv, stream{ss, ctx})
	}
}

// stream is a ServerStream with Claims in its context.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// gate decides about calls.
type gate struct {
	verifier *verify.Verifier
	public   map[string]bool
	scopes   map[string][]string
	onError  func(context.Context, string, error)
}

func newGate(v *verify.Verifier, opts *Options) *gate {
	var o Options
	if opts != nil {
		o = *opts
	}
	g := &gate{verifier: v, public: make(map[string]bool), scopes: make(map[string][]string), onError: o.OnError}
	for _, name := range o.Public {
		g.public[name] = true
	}
	for name, scopes := range o.Scopes {
		g.scopes[name] = append([]string(nil), scopes...)
	}
	return g
}

var (
	errNoToken  = errors.New("grpcverify: call without a bearer token")
	errTwo      = errors.New("grpcverify: not exactly one bearer token")
	errNoScopes = errors.New("grpcverify: insufficient scope")
)

// enter returns the context of a call that may go on, or its status.
func (g *gate) enter(ctx context.Context, method string) (context.Context, error) {
	service := method[:strings.LastIndexByte(method, '/')+1]
	need, ok := g.scopes[method]
	if !ok {
		need = g.scopes[service]
	}
	raw, err := bearer(ctx)
	if errors.Is(err, errNoToken) && len(need) == 0 && (g.public[method] || g.public[service]) {
		return ctx, nil
	}
	var claims verify.Claims
	if err == nil {
		claims, err = g.verifier.Verify(ctx, raw)
	}
	if err == nil {
		for _, scope := range need {
			if !claims.HasScope(scope) {
				err = errNoScopes
			}
		}
	}
	if err == nil {
		return verify.NewContext(ctx, claims), nil
	}
	if g.onError != nil {
		g.onError(ctx, method, err)
	}
	return nil, refusal(err)
}

// bearer reads the one token of a call.
func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	switch {
	case len(values) == 0:
		return "", errNoToken
	case len(values) > 1:
		return "", errTwo
	}
	scheme, raw, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 §11.1
		return "", errNoToken
	}
	raw = strings.TrimLeft(raw, " ")
	if raw == "" || strings.ContainsAny(raw, " \t,") {
		return "", errTwo
	}
	return raw, nil
}

// refusal is the status of an error. Its text is one of ours and verify's fixed
// ones; what is behind an ErrUnavailable is for OnError alone.
func refusal(err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "grpcverify: "), "verify: ")
	switch {
	case errors.Is(err, errNoToken), errors.Is(err, errTwo), errors.Is(err, verify.ErrInvalidToken):
		return status.Error(codes.Unauthenticated, text)
	case errors.Is(err, errNoScopes):
		return status.Error(codes.PermissionDenied, text)
	}
	return status.Error(codes.Unavailable, strings.TrimPrefix(verify.ErrUnavailable.Error(), "verify: "))
}
