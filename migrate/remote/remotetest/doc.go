// Package remotetest is a remote.Host without a machine, for tests that have
// to be fast and to fail on purpose, and the contract suite that it and the
// real hosts pass.
//
// A Fake is a map of files, a table of scripted commands and a log of every
// changing operation. Any operation of that log can be made to fail, or the
// whole operator's program to "crash" there, before or after its effect:
//
//	world := remotetest.NewFaults()
//	cp1 := remotetest.New("cp1")
//	cp1.Faults = world // shared: one count over all hosts and other fakes
//	world.FailAt(3, remotetest.After, remotetest.ErrCrashed)
package remotetest
