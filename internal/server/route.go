package server

import "net/http"

// Route is the pattern of the endpoint that would answer r, or empty: a name for
// a request that holds nothing the caller wrote (SEC-230).
func (s *Server) Route(r *http.Request) string {
	_, pattern := s.mux.Handler(r)
	return pattern
}
