package etcdflags

import (
	"fmt"
	"path"
	"slices"

	"hamigrate/migrate/remote"
)

// IsMemberData says whether etcd itself makes a name in its data folder, and
// knows the folder by it for a member's (etcd: server/etcdmain,
// identifyDataDirOrDie). Any other, the lost+found of a disk of its own above
// all, is nothing to it.
func IsMemberData(name string) bool { return slices.Contains([]string{"member", "proxy"}, name) }

// ForeignData says of a host that is no member that its folder holds a
// member's data: another cluster's must not be joined to this one, nor wiped.
func ForeignData(host, name string) (seen, remedy string) {
	at := path.Join(DataDir, name)
	return fmt.Sprintf("%s holds a member's data, and %s is no member of this etcd", at, host),
		fmt.Sprintf("look on %s whose it is, and move it away when nobody needs it: mv %s $HOME/", host, remote.Quote(at))
}
