package phases

import (
	"fmt"

	"hamigrate/migrate"
)

// NotYet is why a step has no Undo so far.
const NotYet = migrate.NotYet

// Done is the finding of a step that has nothing to do.
func Done(format string, args ...any) migrate.Finding {
	return migrate.Finding{Verdict: migrate.Satisfied, Reason: fmt.Sprintf(format, args...)}
}

// Need is the finding of a step that has work to do.
func Need(before migrate.Before, format string, args ...any) migrate.Finding {
	return migrate.Finding{Verdict: migrate.Needed, Reason: fmt.Sprintf(format, args...), Before: before}
}

// Block is the finding of a step that can't be done as things are.
func Block(remedy, format string, args ...any) migrate.Finding {
	return migrate.Finding{Verdict: migrate.Blocked, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// ServerChange is the plan's diff of a kubeconfig: only the line that
// changes, since the rest of the file holds keys.
func ServerChange(object, before, after string) migrate.Change {
	return migrate.Change{Object: object, Before: "    server: " + before + "\n", After: "    server: " + after + "\n"}
}
