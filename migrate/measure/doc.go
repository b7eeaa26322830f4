// Package measure measures what the clients of the API see while phases run, for
// migrate/run: from this machine and from pods on nodes (migrate/nodeprobe). A
// gate asks the run to stop when clients are disturbed by more than the step at
// hand has announced. The figures are kept in the journal, those of a killed run
// as well, and the report is made of them.
package measure
