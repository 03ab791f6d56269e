// archive writes what a release's archive has beside the executable into a folder, for
// goreleaser: `go run ./cmd/archive FOLDER`, in the repository's root.
package main

import (
	"fmt"
	"os"

	"k8sbootcamp/internal/archive"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./cmd/archive FOLDER")
		os.Exit(2)
	}
	if err := archive.Write(".", os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
