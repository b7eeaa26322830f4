// Package initspec makes a spec file from a live cluster: it looks at the
// control-plane node, fills in what is true, and leaves a blank with an
// explanation where the operator has to choose. The loader of specs has a
// sentence for each blank that was left, so a file that is half filled in
// does nothing.
package initspec
