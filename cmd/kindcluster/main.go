// kindcluster is the lab's tool of this name, from source: `go tool kindcluster`, which
// the script ./class runs, and the states of earlier versions have.
package main

import (
	"os"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/labtools"
)

func main() { os.Exit(labtools.Main(kindcluster.Tool, os.Args[1:])) }
