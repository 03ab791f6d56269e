package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8sbootcamp/internal/printable"
)

// Kind tells what is wrong with a configuration.
type Kind int

// The kinds of problems.
const (
	BadValue   Kind = iota // a value that its key does not take
	Clash                  // a value that is good by itself, and not beside those of other keys
	UnknownKey             // most likely misspelt
	OldKey                 // a key of an earlier version
	Unreadable             // Pulumi could not give the value
	StackName              // the stack's name cannot be used
)

// Problem is one thing that is wrong with a stack's configuration.
type Problem struct {
	Kind  Kind
	Key   string // without the project; several old keys are joined by ", "
	Value string // as it was given, cut to a line's length; "[secret]" for a secret one
	// Allowed says what may be there, or, for an unknown or an old key, what to
	// write instead.
	Allowed string
	Err     error // of an unreadable one

	project string
}

func (p Problem) Error() string {
	full := p.project + ":" + printable.Line(p.Key, 80)
	switch p.Kind {
	case Clash:
		return fmt.Sprintf("%s = %s: %s", full, p.shown(), p.Allowed)
	case UnknownKey:
		return fmt.Sprintf("%s: unknown key; did you mean %s? (`pulumi config rm %s` removes it)", full, p.Allowed, strconv.Quote(clip(p.Key)))
	case OldKey:
		return fmt.Sprintf("%s: no longer a key; %s", full, p.Allowed)
	case Unreadable:
		return fmt.Sprintf("%s cannot be read: %v", full, p.Err)
	case StackName:
		return fmt.Sprintf("stack name %s: allowed are %s", p.shown(), p.Allowed)
	}
	return fmt.Sprintf("%s = %s: allowed is %s", full, p.shown(), p.Allowed)
}

// Unwrap is the reason why a value could not be read.
func (p Problem) Unwrap() error { return p.Err }

// secretValue is shown in place of a secret.
const secretValue = "[secret]"

func (p Problem) shown() string {
	if p.Value == secretValue {
		return p.Value
	}
	return strconv.Quote(p.Value)
}

// Error is a configuration that cannot be used. All that is wrong with it is in
// Problems.
type Error struct {
	Stack    string
	Problems []Problem
}

func (e *Error) Error() string {
	noun := "problems"
	if len(e.Problems) == 1 {
		noun = "problem"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration of stack %q has %d %s; nothing was changed:\n", clip(e.Stack), len(e.Problems), noun)
	for _, p := range e.Problems {
		b.WriteString(p.Error() + "\n")
	}
	b.WriteString("set a value with `pulumi config set KEY VALUE`")
	return b.String()
}

// Problems are those of an error, none where it is not an *Error.
func Problems(err error) []Problem {
	var e *Error
	if errors.As(err, &e) {
		return e.Problems
	}
	return nil
}

// clip keeps a hostile value from filling the terminal.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
