package remote

// Quoting marks an error whose text has the words of a host in it. Nothing in it
// passes for what this program proposes to do.
func Quoting(err error) error { return quoting{err} }

type quoting struct{ error }

func (q quoting) Unwrap() error { return q.error }

// QuotesOthers is what migrate/console asks such errors for.
func (quoting) QuotesOthers() {}

// QuotesOthers says the same of a command's standard error.
func (*ExitError) QuotesOthers() {}
