// Package shell writes commands as they are typed into the user's shell: a POSIX one, or
// where the tool runs on Windows, PowerShell (and cmd, as far as the two agree).
package shell

import (
	"regexp"
	"runtime"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// A Shell is one of the two kinds.
type Shell struct{ powershell bool }

// Here is that of the system which the tool runs on.
var Here = of(runtime.GOOS)

func of(goos string) Shell { return Shell{goos == "windows"} }

// Class is how the class tool is called, in the project's folder.
func (s Shell) Class() string {
	if s.powershell {
		return `.\class`
	}
	return "./class"
}

// plainRE is what neither PowerShell nor cmd takes for more than itself. (PowerShell makes a
// list of what has a comma.)
var plainRE = regexp.MustCompile(`^[\p{L}\p{N}_:./\\+=-]+$`)

// Quote is a command's words.
func (s Shell) Quote(words ...string) string {
	if !s.powershell {
		return shellescape.QuoteCommand(words)
	}
	quoted := make([]string, len(words))
	for i, word := range words {
		switch {
		case plainRE.MatchString(word):
			quoted[i] = word
		case strings.ContainsAny(word, "$`\""): // which mean something between double quotes
			quoted[i] = "'" + strings.ReplaceAll(word, "'", "''") + "'"
		default:
			quoted[i] = `"` + word + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// Set is the line that sets a variable for the commands to come.
func (s Shell) Set(name, value string) string {
	if s.powershell {
		return "$env:" + name + " = '" + strings.ReplaceAll(value, "'", "''") + "'"
	}
	return "export " + name + "=" + s.Quote(value)
}

// Unset is the line that undoes Set.
func (s Shell) Unset(name string) string {
	if s.powershell {
		return "Remove-Item Env:" + name
	}
	return "unset " + name
}

// Copy is the command that copies a file over another. PowerShell has cp too.
func (s Shell) Copy(from, to string) string { return s.Quote("cp", from, to) }
