// Package sshhost is remote.Host over SSH: one connection a host, strict host
// keys, root through `sudo -n` where the login user is not root, and nothing
// needed on the host but sshd, a POSIX shell and GNU coreutils.
//
// Every command is one SSH session running
//
//	exec [sudo -n --] env MIGRATE_RUN=MARK sh -c 'PROLOGUE' sh 'SCRIPT'
//
// where SCRIPT is spelled so that any login shell (bash, fish, csh) hands it
// on unchanged (see commandLine), and MARK is how its processes are found again
// when they have to be killed. There is no terminal, and no SFTP: files are
// written by a script that gets their content on its standard input, because
// an SFTP subsystem has the login user's rights and not sudo's.
//
// A connection that died is made again for the next command, host key check
// included, for up to 30 s. What may be done twice (reading, and the scripts
// that put, move and remove files) is then done again. A command that was in
// flight is not: it ends with remote.ErrUnknownOutcome and the caller has to
// look; unless it is detached, which is to be found again (see runDetached).
package sshhost
