package workspace

import (
	"bytes"
	"io"
	"sync"
)

type ioWriter = io.Writer

// starts does something once, when a word is written.
type starts struct {
	on   string
	do   func()
	once sync.Once
}

func (s *starts) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(s.on)) {
		s.once.Do(s.do)
	}
	return len(p), nil
}
