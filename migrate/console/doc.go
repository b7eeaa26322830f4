// Package console words what commands show to a person: the progress of a run, plans,
// lists of checks and certificates, how a run ended, and errors, with the command that
// they propose on a line of its own. All of it is printed through package show.
package console
