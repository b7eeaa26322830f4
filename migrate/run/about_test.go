package run

import (
	"errors"
	"strings"
	"testing"
)

// TestTheFirstMemberThatAnswers: one that does not answer is passed over, and all are
// named where none answers.
func TestTheFirstMemberThatAnswers(t *testing.T) {
	t.Parallel()
	ask := func(host string) (int64, error) {
		if host == "e2" {
			return 7, nil
		}
		return 0, errors.New(host + " is silent")
	}
	if size, err := firstAnswer([]string{"e1", "e2", "e3"}, ask); size != 7 || err != nil {
		t.Errorf("%d, %v", size, err)
	}
	_, err := firstAnswer([]string{"e1", "e3"}, ask)
	for _, want := range []string{"no member answers", "e1 is silent", "e3 is silent"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing: %v", want, err)
		}
	}
	if _, err := firstAnswer(nil, ask); err == nil {
		t.Error("without members there is an answer")
	}
}
