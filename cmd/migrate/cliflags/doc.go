// Package cliflags has what every command line of urfave/cli wants and that library
// does not do: nothing that was typed is ignored, and each mistake is told in a
// sentence with the way out. It makes the manual of the commands as well. It knows
// nothing of what the commands do.
package cliflags

// Completing is the last word of what a shell asks (urfave/cli: help.go,
// checkShellCompleteFlag).
const Completing = "--generate-bash-completion"
