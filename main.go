// The lab of the Kubernetes course as one Pulumi program; start reading in
// components/lab.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"k8sbootcamp/components/lab"
)

func main() { pulumi.Run(lab.Program) }
