// Package runrecord is what the journal holds of runs besides their steps: of which
// cluster, where the time went, what clients saw, which backups were taken and which
// host keys nobody compared. Each is a blob of the journal with its own name.
package runrecord
