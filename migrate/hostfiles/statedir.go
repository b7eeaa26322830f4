package hostfiles

// StateDir is the folder on every host that holds what this tool keeps there:
// backups of files it changed and the archive of the old etcd member. Mode
// 0700; nothing in it is read by kubelet, nginx or etcd.
const StateDir = "/var/lib/migrate"
