// class sets up, looks after and removes the labs of one student or of a whole
// class; `go run ./cmd/class help` tells how.
package main

import (
	"os"

	"k8sbootcamp/cmd/class/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
