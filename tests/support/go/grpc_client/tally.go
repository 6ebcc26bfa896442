package main

import (
	"sync"

	"google.golang.org/grpc/status"
)

// tally counts how calls ended.
type tally struct {
	mutex sync.Mutex
	// Good are the calls that ended well, by backend.
	Good map[string]int `json:"good"`
	// Failed are the others, by status and message.
	Failed map[string]int `json:"failed"`
}

func newTally() *tally {
	return &tally{Good: map[string]int{}, Failed: map[string]int{}}
}

func (t *tally) add(backend string, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if err != nil {
		t.Failed[status.Code(err).String()+": "+status.Convert(err).Message()]++
		return
	}
	t.Good[backend]++
}
