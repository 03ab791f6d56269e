package classroom

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/course"
	"k8sbootcamp/internal/fake"
	"k8sbootcamp/internal/lesson"
)

func node(ready string) string {
	return `{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"},"status":{"conditions":[{"type":"Ready","status":"` + ready + `"}]}}`
}

// student has a lab of one node.
func student(t *testing.T, name string) (Student, *fake.APIServer, *atomic.Int32) {
	s, opened := fake.NewAPIServer(t, node("True")), &atomic.Int32{}
	return Student{Name: name, Stack: name, Open: func(context.Context) (*lesson.Lab, lesson.Options, error) {
		opened.Add(1)
		l, err := lesson.New(s.Kubeconfig("x"), "", "")
		return l, lesson.Options{}, err
	}}, s, opened
}

func TestRoom(t *testing.T) {
	one, s, opened := student(t, "one")
	absent := Student{Stack: "absent", Open: func(context.Context) (*lesson.Lab, lesson.Options, error) {
		return nil, lesson.Options{}, errors.New("it is not up")
	}}
	r := New([]Student{one, absent}, course.Chapter03)
	now := time.Now()
	r.now = func() time.Time { return now }
	seats, _ := r.Seats()
	assert.False(t, seats[0].Asked)
	assert.Equal(t, "absent", seats[1].Name, "who has no name is called by the stack's")

	changed := r.Changed()
	round := r.Ask(t.Context())
	assert.Positive(t, round.Requests)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	seats, _ = r.Seats()
	assert.Empty(t, seats[0].At, "all is done")
	assert.Nil(t, seats[0].Red())
	assert.Equal(t, "it is not up", seats[1].Problem)

	// Since when something is so stays, while it is so.
	began := now
	now = now.Add(time.Minute)
	s.Put(t, node("Unknown"))
	r.Ask(t.Context())
	now = now.Add(time.Minute)
	r.Ask(t.Context())
	seats, _ = r.Seats()
	require.NotNil(t, seats[0].Red())
	assert.Equal(t, "0-3/nodes", seats[0].Red().ID)
	assert.Equal(t, course.Chapter03, seats[0].At)
	assert.Equal(t, began.Add(time.Minute), seats[0].AtSince)
	assert.Equal(t, began.Add(time.Minute), seats[0].RedSince())
	assert.Equal(t, began, seats[1].ProblemSince)
	s.Put(t, node("True"))
	r.Ask(t.Context())
	seats, _ = r.Seats()
	assert.Nil(t, seats[0].Red())
	assert.Equal(t, "0-3/nodes", seats[0].LastRed.ID)

	// The way to a lab is found once, until it gives no answer.
	assert.EqualValues(t, 1, opened.Load())
	s.Fail("GET /api/v1/nodes", http.StatusInternalServerError)
	r.Ask(t.Context())
	r.Ask(t.Context())
	assert.EqualValues(t, 2, opened.Load())
}

// What was known of a lab stays while the way to it is lost.
func TestLost(t *testing.T) {
	one, s, _ := student(t, "one")
	lost := false
	open := one.Open
	one.Open = func(ctx context.Context) (*lesson.Lab, lesson.Options, error) {
		if lost {
			return nil, lesson.Options{}, errors.New("gone \x1b[31m")
		}
		return open(ctx)
	}
	r := New([]Student{one}, course.Chapter03)
	r.Ask(t.Context())
	lost = true
	s.Fail("GET /api/v1/nodes", http.StatusInternalServerError)
	r.Ask(t.Context()) // the lab itself says that it does not answer
	r.Ask(t.Context())
	seats, _ := r.Seats()
	assert.Equal(t, `gone \x1b[31m`, seats[0].Problem)
	assert.NotEmpty(t, seats[0].Marks)
}

// Watch ends with its context, and no lab is asked after that.
func TestWatchEnds(t *testing.T) {
	one, _, opened := student(t, "one")
	ctx, cancel := context.WithCancel(t.Context())
	r := New([]Student{one}, "")
	ended := make(chan struct{})
	go func() {
		r.Watch(ctx, time.Millisecond)
		close(ended)
	}()
	assert.Eventually(t, func() bool { return opened.Load() > 0 }, 10*time.Second, time.Millisecond)
	cancel()
	<-ended
	assert.Zero(t, r.Ask(ctx).Requests)
}
