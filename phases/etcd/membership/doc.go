// Package membership is what is done to etcd's list of members, wherever the
// members run: a learner is added and promoted, the leader is moved, a member is
// removed. Each change is asked of a voter, is done once though it is asked for
// twice, and waits for etcd where it refuses for a moment.
package membership

// Files is where a member has its files on its host.
type Files struct {
	PKI   string // the folder of its certificates and keys
	Data  string // the folder of its data, in which etcd makes the folder member
	Owner string // the user of both
}
