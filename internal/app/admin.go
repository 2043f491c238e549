package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// operations are what the command line may ask of a store. They are the same
// whether a running server carries them out, asked over its socket, or the
// command itself, which then opens the store.
type operations map[string]func(context.Context, json.RawMessage) (any, error)

// operation gives a function with its own types the form of the others.
func operation[In, Out any](f func(context.Context, In) (Out, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var in In
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields() // a command of another version must not half succeed
		if err := dec.Decode(&in); err != nil {
			return nil, fmt.Errorf("the command and the server do not understand each other (%w); use the same version of both", err)
		}
		return f(ctx, in)
	}
}

const (
	adminRequestLimit  = 64 << 10
	adminTimeout       = 60 * time.Second
	adminHeaderTimeout = 5 * time.Second
)

// adminAnswer is what comes back over the socket.
type adminAnswer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// adminServer serves operations over HTTP on the socket: POST /v1/OPERATION with
// the request as JSON.
func adminServer(ops operations) *http.Server {
	mux := http.NewServeMux()
	for name, op := range ops {
		mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, adminRequestLimit))
			var result any
			if err == nil {
				result, err = op(r.Context(), raw)
			}
			answerAdmin(w, result, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerAdmin(w, nil, errors.New("the running server does not know this command; use the same version of both"))
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: adminHeaderTimeout, ReadTimeout: adminTimeout, WriteTimeout: adminTimeout}
}

func answerAdmin(w http.ResponseWriter, result any, err error) {
	var a adminAnswer
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		a = adminAnswer{Error: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if a.Error != "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	_ = json.NewEncoder(w).Encode(a) // the other end is gone; it will say so itself
}

// callSocket asks the running server of dir; errNotRunning when there is none.
func callSocket(ctx context.Context, dir, name string, raw []byte) (json.RawMessage, error) {
	conn, err := dialSocket(ctx, dir)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/v1/"+name, bytes.NewReader(raw))
	if err != nil {
		conn.Close()
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: adminTimeout}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the running server: %w", err)
	}
	defer resp.Body.Close()
	var a adminAnswer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return nil, fmt.Errorf("the running server's answer: %w", err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Result, nil
}
