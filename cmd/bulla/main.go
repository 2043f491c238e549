// Command bulla is the whole of Bulla in one program: the server, and the
// commands that look after it.
//
// This package holds what belongs to a process and nothing else: arguments,
// environment, standard streams, signals and exit codes (0 done, 1 failed, 2
// wrong usage). Everything it does is in internal/app.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/bulla-auth/bulla/internal/app"
	"github.com/bulla-auth/bulla/internal/config"
)

// version is set by the linker from the repository's tags (make build).
var version = "unknown"

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	noCoreDumps()
	// What lives on is small beside what a password hash takes for a moment, so
	// collecting twice as often costs nothing that shows and saves megabytes.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// The first signal asks to stop; from then on the default holds again, so the
	// second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], process{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
}

// process is what main passes in of the process it runs in.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

// settings has the fields of config.Config and none of its methods: kong would
// call Validate before file and environment have been read.
type settings config.Config

// commandLine is the grammar. The settings are flags of every command, because
// every command has to find the same data.
type commandLine struct {
	Config   string   `help:"JSON file with settings." placeholder:"FILE"`
	Settings settings `embed:"" group:"Settings (also BULLA_… in the environment)"`

	Serve            serveCommand            `cmd:"" help:"Run the server."`
	ManagementClient managementClientCommand `cmd:"" help:"Make a machine client with every Management API scope, or rotate the secret of the one with this name."`
	User             struct {
		Create userCreateCommand `cmd:"" help:"Make a user in the default database connection."`
	} `cmd:"" help:"Users."`
	Keys struct {
		List    keysListCommand    `cmd:"" help:"List the signing keys."`
		Rotate  keysRotateCommand  `cmd:"" help:"Replace the keys that sign by the next ones."`
		Revoke  keysRevokeCommand  `cmd:"" help:"Remove a key that no longer signs from the key set."`
		Import  keysImportCommand  `cmd:"" help:"Take over a private key of another issuer, with its kid."`
		Restore keysRestoreCommand `cmd:"" help:"Publish a revoked key again, so that what it has signed is valid."`
	} `cmd:"" help:"Signing keys."`
	Token struct {
		Inspect tokenInspectCommand `cmd:"" help:"Decode a token without checking it."`
		Verify  tokenVerifyCommand  `cmd:"" help:"Check a token against the issuer."`
	} `cmd:"" help:"Tokens."`
	Doctor  doctorCommand  `cmd:"" help:"Look for what is wrong with this installation."`
	Version versionCommand `cmd:"" help:"Tell version, commit and Go version."`
}

// command is one of the commands of the grammar.
type command interface {
	run(ctx context.Context, p process, load func() (config.Config, error)) error
}

// errReported is a failure that has been explained on the way.
var errReported = errors.New("reported")

func run(ctx context.Context, args []string, p process) int {
	var cli commandLine
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("bulla"),
		kong.Description("A token platform that you run yourself: signs people and machines in, issues, keeps, rotates and revokes tokens."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Summary: false}),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exit = code }), // --help; the answer is in exit
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(p.stderr, "bulla:", err)
		return exitFailed
	}
	kctx, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "bulla: %s; see bulla --help\n", oneLine(err))
		return exitUsage
	}
	load := func() (config.Config, error) {
		return config.Load(config.Sources{File: cli.Config, Environ: p.environ, Flags: givenFlags(kctx)})
	}
	cmd, ok := kctx.Selected().Target.Addr().Interface().(command)
	if !ok {
		fmt.Fprintf(p.stderr, "bulla: %s needs a subcommand; see bulla --help\n", kctx.Command())
		return exitUsage
	}
	switch err := cmd.run(ctx, p, load); {
	case err == nil:
		return exitDone
	case errors.Is(err, errReported):
		return exitFailed
	default:
		fmt.Fprintln(p.stderr, "bulla:", oneLine(err))
		return exitFailed
	}
}

// givenFlags are the settings that stand on the command line, in the spelling of
// the environment.
func givenFlags(ctx *kong.Context) map[string]string {
	given := map[string]string{}
	for _, trace := range ctx.Path {
		if trace.Flag == nil || trace.Resolved {
			continue
		}
		for _, k := range config.Keys() {
			if config.FlagName(k.Name) != trace.Flag.Name {
				continue
			}
			switch v := ctx.FlagValue(trace.Flag).(type) {
			case []string:
				given[k.Name] = strings.Join(v, ",")
			default:
				given[k.Name] = fmt.Sprint(v)
			}
		}
	}
	return given
}

// oneLine keeps the promise that a failure is one line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func build() app.Build { return app.BuildOf(version) }
