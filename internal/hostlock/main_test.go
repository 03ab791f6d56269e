package hostlock

import (
	"testing"

	"k8sbootcamp/internal/hostlock/locktest"
)

func TestMain(m *testing.M) { locktest.Main(m) }
