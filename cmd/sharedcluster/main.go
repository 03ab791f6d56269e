// sharedcluster is the lab's tool of this name by itself; see cmd/kindcluster.
package main

import (
	"os"

	"k8sbootcamp/internal/labtools"
	"k8sbootcamp/internal/sharedcluster"
)

func main() { os.Exit(labtools.Main(sharedcluster.Tool, os.Args[1:])) }
