package hostfiles

import (
	"testing"

	"hamigrate/migrate/remote/remotetest"
)

// TestSameDisk: a rename leads from one folder to another where both are in one
// mount and on one device.
func TestSameDisk(t *testing.T) {
	t.Parallel()
	const root = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	for name, tt := range map[string]struct {
		out  string
		want bool
	}{
		"one disk":                      {"2049\n/var/lib/etcd\n2049\n/var/lib/migrate\n" + root, true},
		"a disk of its own":             {"2065\n/var/lib/etcd\n2049\n/var/lib/migrate\n" + root + "36 25 8:17 / /var/lib/etcd rw - xfs /dev/sdb1 rw\n", false},
		"a folder of the disk, bound":   {"2049\n/var/lib/etcd\n2049\n/var/lib/migrate\n" + root + "36 25 8:1 /data/etcd /var/lib/etcd rw - ext4 /dev/sda1 rw\n", false},
		"both in the one that is bound": {"2049\n/var/lib/etcd\n2049\n/var/lib/migrate\n" + root + "36 25 8:1 /data/lib /var/lib rw - ext4 /dev/sda1 rw\n", true},
		"a volume of btrfs":             {"41\n/var/lib/etcd\n40\n/var/lib/migrate\n25 1 0:40 / / rw - btrfs /dev/sda1 rw\n", false},
		"a name that only begins so":    {"2049\n/var/lib/etcd2\n2049\n/var/lib/migrate\n" + root + "36 25 8:1 /data/etcd /var/lib/etcd rw - ext4 /dev/sda1 rw\n", true},
		"a name with a space":           {"2049\n/var/lib/my etcd/member\n2049\n/var/lib/migrate\n" + root + "36 25 8:1 /x /var/lib/my\\040etcd rw - ext4 /dev/sda1 rw\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := remotetest.New("cp1")
			h.OnRun("mountinfo", func(string, []byte) (string, error) { return tt.out, nil })
			if got, err := SameDisk(t.Context(), h, "/a", "/b"); got != tt.want || err != nil {
				t.Errorf("%t, %v", got, err)
			}
		})
	}
	h := remotetest.New("cp1")
	h.OnRun("mountinfo", func(string, []byte) (string, error) { return "2049\n/a\n2049\n/b\n", nil })
	if same, err := SameDisk(t.Context(), h, "/a", "/b"); err == nil {
		t.Errorf("without mounts it says %t", same)
	}
}
