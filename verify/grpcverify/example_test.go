package grpcverify_test

import (
	"log"

	"google.golang.org/grpc"

	"github.com/bulla-auth/bulla/verify"
	"github.com/bulla-auth/bulla/verify/grpcverify"
)

// A server whose health checks are open, and one method of which needs a scope.
func Example() {
	verifier, err := verify.New(verify.Options{
		Issuer:   "https://tenant.example.com/",
		Audience: []string{"https://api.example.com/"},
	})
	if err != nil {
		log.Fatal(err)
	}
	options := &grpcverify.Options{
		Public: []string{"/grpc.health.v1.Health/"},
		Scopes: map[string][]string{"/mail.v1.Messages/Delete": {"delete:messages"}},
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcverify.Unary(verifier, options)),
		grpc.ChainStreamInterceptor(grpcverify.Stream(verifier, options)),
	)
	// A handler reads the caller by verify.FromContext(ctx).
	server.Stop()
}
