// Package password makes passwords.
package password

import "crypto/rand"

// Tool is the name of the tool (`./class secret`) that Pulumi's commands run, and Verb
// what it is told.
const (
	Tool = "secret"
	Verb = "password"
)

// New returns a new one: 26 letters and digits, of 130 random bits.
func New() string { return rand.Text() }
