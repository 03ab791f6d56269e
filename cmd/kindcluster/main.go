// kindcluster is the lab's tool of this name by itself, for the states of earlier versions,
// whose commands are `go tool kindcluster`.
package main

import (
	"os"

	"k8sbootcamp/internal/kindcluster"
	"k8sbootcamp/internal/labtools"
)

func main() { os.Exit(labtools.Main(kindcluster.Tool, os.Args[1:])) }
