package runrecord

import (
	"slices"

	"hamigrate/migrate/remote/sshhost"
	"hamigrate/state"
)

// HostKeysBlob is the journal's blob of the host keys that nobody compared.
const HostKeysBlob = "host-keys"

// KeepHostKeys adds to the journal which host keys are trusted because they
// were the first ones shown, by this command or one before it.
func KeepHostKeys(j *state.Journal, now []sshhost.HostKey) error {
	var known []sshhost.HostKey
	if _, err := j.GetBlob(HostKeysBlob, &known); err != nil {
		return err
	}
	had := len(known)
	for _, k := range now {
		same := func(other sshhost.HostKey) bool { return other.Host == k.Host && other.Fingerprint == k.Fingerprint }
		if !slices.ContainsFunc(known, same) {
			known = append(known, k)
		}
	}
	if len(known) == had {
		return nil
	}
	return j.PutBlob(HostKeysBlob, known)
}
