package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stdio is a connection to Docker that a process of the docker command keeps.
type stdio struct {
	in  io.WriteCloser
	out io.ReadCloser

	end    func() error // ends the process and waits for it
	stderr *bytes.Buffer
}

// dialStdio connects as the docker command does with a Docker on another machine.
func dialStdio(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command("docker", "system", "dial-stdio") // it outlives the request that needed it first
	c := &stdio{stderr: &bytes.Buffer{}}
	cmd.Stderr = c.stderr
	cmd.WaitDelay = time.Second
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.end = sync.OnceValue(func() error {
		_ = cmd.Process.Kill() // one that has ended is no matter
		return cmd.Wait()
	})
	return c, nil
}

// Read reads what Docker says. Where the process ends with a word, that is the error.
func (c *stdio) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		err = c.lastWord(err)
	}
	return n, err
}

// Write says something to Docker. Its error is as Read's.
func (c *stdio) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = c.lastWord(err)
	}
	return n, err
}

// lastWord is what the process ended with, or the error where it said nothing.
func (c *stdio) lastWord(err error) error {
	if ended := c.end(); ended != nil && c.stderr.Len() > 0 {
		return fmt.Errorf("docker system dial-stdio: %s", Tail(c.stderr.Bytes(), 1000))
	}
	return err
}

// Close ends the process.
func (c *stdio) Close() error {
	_ = c.end() // it was killed, which is no error here
	return nil
}

// A pipe has no address and no deadlines; who waits too long closes the connection.

type address struct{}

func (address) Network() string { return "stdio" }
func (address) String() string  { return "docker system dial-stdio" }

func (c *stdio) LocalAddr() net.Addr              { return address{} }
func (c *stdio) RemoteAddr() net.Addr             { return address{} }
func (c *stdio) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *stdio) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *stdio) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
