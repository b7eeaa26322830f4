// Package state is the journal: what the program believed and what was there
// before, kept on the operator's machine.
//
// The journal never decides what is done; the world does. It answers three
// other questions: which step has an unknown outcome (it was started and
// nothing says how it ended), what did the world look like before a step
// touched it (for the undo), and who did what when (for the report).
//
// The duties of its user, in order:
//
//  1. Advance(Start) with the pre-image and wait for nil BEFORE the first
//     remote command of a step. What is not on disk did not happen.
//  2. Advance(Applied) and Advance(Verified) as the step gets there, or
//     Advance(Fail).
//  3. After a crash, treat a record in Started as "outcome unknown": look at
//     the world first.
//
// Records and their log entries are written in one transaction of bbolt,
// which is synced to disk before the call returns. The pure part (Next and
// Record.advance) has no I/O and is tested over its full product.
package state
