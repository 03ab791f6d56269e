package kindcluster

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

const (
	namePrefix = "bootcamp-"
	// maxName leaves room for kind's suffixes in a host name of 63 characters
	// ("-control-plane" has 14).
	maxName  = 49
	hashSize = 6 // hexadecimal digits
)

var (
	nameRE     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	unusableRE = regexp.MustCompile(`[^a-z0-9-]+`)
)

// Name returns the kind cluster's name of a stack: "bootcamp-" and the stack's
// name. Where kind's rules change the stack's name (upper case, dots,
// underscores, length), a hash of the original keeps two stacks apart.
func Name(stack string) string {
	made := strings.Trim(unusableRE.ReplaceAllString(strings.ToLower(stack), "-"), "-")
	name := namePrefix + made
	if made == stack && ValidName(name) {
		return name
	}
	sum := sha256.Sum256([]byte(stack))
	hash := hex.EncodeToString(sum[:])[:hashSize]
	if room := maxName - hashSize - 1; len(name) > room {
		name = name[:room]
	}
	return strings.TrimRight(name, "-") + "-" + hash
}

// Context is the context of a cluster's kubeconfig, as kind names it.
func Context(cluster string) string { return "kind-" + cluster }

// ValidName tells whether kind, Docker and Kubernetes all take a cluster name.
func ValidName(name string) bool { return len(name) <= maxName && nameRE.MatchString(name) }
