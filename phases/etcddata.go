package phases

import (
	"fmt"
	"path"
	"slices"

	"hamigrate/migrate/remote"
)

// IsEtcdMemberData says whether etcd itself makes a name in its data folder, and
// knows the folder by it for a member's (etcd: server/etcdmain,
// identifyDataDirOrDie). Any other, the lost+found of a disk of its own above
// all, is nothing to it.
func IsEtcdMemberData(name string) bool { return slices.Contains([]string{"member", "proxy"}, name) }

// ForeignEtcdData says of a host that is no member that its folder holds a
// member's data: another cluster's must not be joined to this one, nor wiped.
func ForeignEtcdData(host, name string) (seen, remedy string) {
	at := path.Join(EtcdDataDir, name)
	return fmt.Sprintf("%s holds a member's data, and %s is no member of this etcd", at, host),
		fmt.Sprintf("look on %s whose it is, and move it away when nobody needs it: mv %s $HOME/", host, remote.Quote(at))
}
