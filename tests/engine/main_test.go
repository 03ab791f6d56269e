package engine

import (
	"os"
	"testing"

	"k8sbootcamp/tests/internal/results"
)

func TestMain(m *testing.M) { os.Exit(results.Run(m, nil)) }
