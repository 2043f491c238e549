package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bulla-auth/bulla/internal/app"
	"github.com/bulla-auth/bulla/internal/config"
)

type serveCommand struct{}

func (serveCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	return app.Serve(ctx, app.Options{Config: cfg, Stdout: p.stdout, Logger: app.NewLogger(p.stderr, cfg), Build: build()})
}

type managementClientCommand struct {
	Name   string `help:"Name of the client." default:"bulla management-client"`
	Format string `help:"Form of the answer: text, env, json." enum:"text,env,json" default:"text"`
}

func (c managementClientCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	m, err := app.NewAdmin(options(cfg, p)).ManagementClient(ctx, c.Name)
	if err != nil {
		return err
	}
	switch c.Format {
	case "env":
		fmt.Fprintf(p.stdout, "ISSUER=%s\nCA_FILE=%s\nMGMT_CLIENT_ID=%s\nMGMT_CLIENT_SECRET=%s\n", m.Issuer, m.CAFile, m.ClientID, m.ClientSecret)
	case "json":
		return writeJSON(p.stdout, m)
	default:
		fmt.Fprintf(p.stdout, "Issuer:         %s\nCA file:        %s\nClient ID:      %s\nClient secret:  %s\n", m.Issuer, m.CAFile, m.ClientID, m.ClientSecret)
	}
	return nil
}

type userCreateCommand struct {
	Email         string `help:"Address of the user." required:"" placeholder:"ADDRESS"`
	PasswordStdin bool   `help:"Read the password from standard input; without it one is made and printed."`
	Admin         bool   `help:"Make the user an administrator of the dashboard."`
}

func (c userCreateCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	var password string
	if c.PasswordStdin {
		if password, err = readLine(p.stdin, "a password"); err != nil {
			return err
		}
	} else if password, err = app.NewPassword(); err != nil {
		return err
	}
	u, err := app.NewAdmin(options(cfg, p)).CreateUser(ctx, app.NewUser{Email: c.Email, Password: password, Administrator: c.Admin})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "User ID:   %s\nEmail:     %s\n", u.ID, u.Email)
	if !c.PasswordStdin {
		fmt.Fprintf(p.stdout, "Password:  %s\n", password)
	}
	return nil
}

type keysListCommand struct {
	Format string `help:"Form of the answer: text, json." enum:"text,json" default:"text"`
}

func (c keysListCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	keys, err := app.NewAdmin(options(cfg, p)).Keys(ctx)
	if err != nil {
		return err
	}
	return writeKeys(p.stdout, c.Format, keys)
}

func writeKeys(out io.Writer, format string, keys []app.Key) error {
	if format == "json" {
		return writeJSON(out, keys)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KID\tALGORITHM\tSTATE\tCREATED\tSIGNS SINCE\tSIGNED UNTIL\tTOKENS\tNEEDED UNTIL")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", k.Kid, k.Algorithm, k.State,
			stamp(k.CreatedAt), stamp(k.CurrentSince), stamp(k.CurrentUntil), k.Tokens, stamp(k.NeededUntil))
	}
	return w.Flush()
}

type keysRotateCommand struct {
	Force  bool   `help:"Also when verifiers may not know the next key yet: they then refuse valid tokens."`
	Format string `help:"Form of the answer: text, json." enum:"text,json" default:"text"`
}

func (c keysRotateCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	keys, err := app.NewAdmin(options(cfg, p)).RotateKeys(ctx, c.Force)
	if err != nil {
		return err
	}
	return writeKeys(p.stdout, c.Format, keys)
}

type keysRevokeCommand struct {
	Kid   string `arg:"" help:"The key's id."`
	Force bool   `help:"Also while tokens need the key: they end with it."`
}

func (c keysRevokeCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	return app.NewAdmin(options(cfg, p)).RevokeKey(ctx, c.Kid, c.Force)
}

type keysImportCommand struct {
	File   string `arg:"" help:"The private key, PEM or JWK; - is standard input."`
	Kid    string `help:"The id the other issuer publishes the key under; a JWK names its own." placeholder:"KID"`
	State  string `help:"What the key does here: current (signs from now on), next (signs after the next rotation), previous (only its tokens go on)." enum:"current,next,previous" required:""`
	Format string `help:"Form of the answer: text, json." enum:"text,json" default:"text"`
}

func (c keysImportCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	in := p.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("read the key: %w", err)
		}
		defer f.Close()
		in = f
	}
	key, err := io.ReadAll(io.LimitReader(in, maxLine))
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	keys, err := app.NewAdmin(options(cfg, p)).ImportKey(ctx, key, c.Kid, c.State)
	if err != nil {
		return err
	}
	return writeKeys(p.stdout, c.Format, keys)
}

type keysRestoreCommand struct {
	Kid string `arg:"" help:"The key's id."`
}

func (c keysRestoreCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	return app.NewAdmin(options(cfg, p)).RestoreKey(ctx, c.Kid)
}

type tokenInspectCommand struct {
	Token string `arg:"" help:"The token, or - to read it from standard input."`
}

func (c tokenInspectCommand) run(_ context.Context, p process, _ func() (config.Config, error)) error {
	raw, err := tokenArgument(c.Token, p.stdin)
	if err != nil {
		return err
	}
	i, err := app.InspectToken(raw)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "NOT VERIFIED: anybody can write what follows; use bulla token verify\n")
	return writeJSON(p.stdout, i)
}

type tokenVerifyCommand struct {
	Token    string `arg:"" help:"The token, or - to read it from standard input."`
	Audience string `help:"The API that the token must be for; without it the token's own audience is taken." placeholder:"AUDIENCE"`
}

func (c tokenVerifyCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	raw, err := tokenArgument(c.Token, p.stdin)
	if err != nil {
		return err
	}
	claims, err := app.VerifyToken(ctx, cfg, raw, c.Audience)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "valid for %s, by %s\n", strings.Join(claims.Audience, ", "), claims.Issuer)
	return writeJSON(p.stdout, claims.Claims)
}

type doctorCommand struct{}

func (doctorCommand) run(ctx context.Context, p process, load func() (config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	failed := false
	for _, c := range app.Doctor(ctx, options(cfg, p)) {
		line := fmt.Sprintf("%-5s %-16s %s", c.Result, c.Name, c.Found)
		if c.Todo != "" {
			line += "; " + c.Todo
		}
		fmt.Fprintln(p.stdout, line)
		failed = failed || c.Result == app.CheckFailed
	}
	if failed {
		return errReported
	}
	return nil
}

type versionCommand struct{}

func (versionCommand) run(_ context.Context, p process, _ func() (config.Config, error)) error {
	b := build()
	_, err := fmt.Fprintf(p.stdout, "bulla %s\ncommit %s\n%s\n", b.Version, b.Commit, b.Go)
	return err
}

// options are those of a command that is not the server: it logs what an
// operator has to see and nothing else.
func options(cfg config.Config, p process) app.Options {
	cfg.LogLevel = "error"
	return app.Options{Config: cfg, Stdout: p.stdout, Logger: app.NewLogger(p.stderr, cfg), Build: build()}
}

func tokenArgument(arg string, stdin io.Reader) (string, error) {
	if arg == "-" {
		return readLine(stdin, "a token")
	}
	return arg, nil
}

// maxLine bounds what is read from standard input; no token and no password is longer.
const maxLine = 64 << 10

func readLine(r io.Reader, what string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s from standard input: %w", what, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("standard input is empty; write %s on one line", what)
	}
	return line, nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}
