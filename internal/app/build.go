package app

import (
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/bulla-auth/bulla/internal/config"
)

// Build is what a binary says of itself.
type Build struct {
	Version string
	// Commit is the revision it was built from, with +changes when the tree had
	// some; unknown outside of a checkout.
	Commit string
	Go     string
}

// BuildOf is the running binary's, under the version the linker gave it.
func BuildOf(version string) Build {
	b := Build{Version: version, Commit: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if version == "unknown" && info.Main.Version != "" {
		b.Version = info.Main.Version // go install of a tagged version
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if modified {
		b.Commit += "+changes"
	}
	return b
}

// engineVersion is the version of a linked module, or empty.
func engineVersion(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return ""
}

// NewLogger writes to w as the configuration says.
func NewLogger(w io.Writer, cfg config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo // Validate has said so already
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
