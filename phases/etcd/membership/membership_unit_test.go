package membership

import (
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/phases"
)

func viewOf(target string) phases.Reader {
	return phases.NewAccess(cluster.Spec{
		ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1", Address: "10.88.0.11"}},
		Etcd:         cluster.Etcd{Hosts: []cluster.Host{{Name: "e1", Address: "10.88.0.21"}, {Name: "e2", Address: "10.88.0.22"}, {Name: "e3", Address: "10.88.0.23"}}},
	}, nil).Reader(target)
}

func memberWith(id uint64, name string, urls ...string) etcd.Member {
	return etcd.Member{ID: id, Name: name, PeerURLs: urls}
}

func TestOldMember(t *testing.T) {
	t.Parallel()
	e1, e2 := memberWith(11, "e1", "https://10.88.0.21:2380"), memberWith(12, "", "https://10.88.0.22:2380")
	e2.Learner = true
	for name, tt := range map[string]struct {
		members []etcd.Member
		want    uint64 // 0 for none
	}{
		"alone, localhost":               {[]etcd.Member{memberWith(1, "cp1", "https://localhost:2380")}, 1},
		"alone, loopback":                {[]etcd.Member{memberWith(1, "cp1", "https://127.0.0.1:2380")}, 1},
		"alone, its address":             {[]etcd.Member{memberWith(1, "cp1", "https://10.88.0.11:2380")}, 1},
		"alone, a host name":             {[]etcd.Member{memberWith(1, "cp1", "https://cp1.example:2380")}, 1},
		"named like an etcd host":        {[]etcd.Member{memberWith(1, "e1", "https://localhost:2380")}, 1},
		"last in the list":               {[]etcd.Member{e1, e2, memberWith(1, "cp1", "https://10.88.0.11:2380")}, 1},
		"before a learner without name":  {[]etcd.Member{memberWith(1, "cp1", "https://localhost:2380"), e2}, 1},
		"gone, with a nameless learner":  {[]etcd.Member{e1, e2}, 0},
		"nobody":                         {nil, 0},
		"an etcd host's second peer URL": {[]etcd.Member{memberWith(11, "e1", "https://a:2380", "https://10.88.0.21:2380")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := OldMember(tt.members, viewOf("e1"))
			if got.ID != tt.want || ok != (tt.want != 0) {
				t.Errorf("got %x, %t", got.ID, ok)
			}
		})
	}
	if m, ok := MemberOn([]etcd.Member{e1, e2}, cluster.Host{Name: "e2", Address: "10.88.0.22"}); !ok || m.ID != 12 {
		t.Errorf("the learner without a name: %x, %t", m.ID, ok)
	}
	// 10.88.0.2 begins 10.88.0.21; a name is no address.
	for _, h := range []cluster.Host{{Name: "e1", Address: "10.88.0.2"}, {Name: "e1", Address: "10.88.0.99"}} {
		if m, ok := MemberOn([]etcd.Member{e1, e2}, h); ok {
			t.Errorf("%v is member %x", h, m.ID)
		}
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	members := WithHosts([]etcd.Member{memberWith(1, "cp1", "https://localhost:2380"), memberWith(11, "e1", "https://10.88.0.21:2380")}, viewOf("cp1"))
	if got := Describe(Without(members, 1)); got != "10.88.0.21 (e1, voter), 10.88.0.22 (e2, voter), 10.88.0.23 (e3, voter)" {
		t.Errorf("got %s", got)
	}
	if got := Without(members, 0); len(got) != len(members) {
		t.Errorf("without nobody: %s", Describe(got))
	}
}

func TestInitialCluster(t *testing.T) {
	t.Parallel()
	first := cluster.Host{Name: "cp1", Address: "10.88.0.11"}
	e1 := etcd.Member{Name: "e1", PeerURLs: []string{"https://10.88.0.21:2380"}}
	own := etcd.Member{PeerURLs: []string{"https://10.88.0.11:2380"}, Learner: true}
	if got, err := InitialCluster([]etcd.Member{e1, own}, first, "first"); err != nil || got != "e1=https://10.88.0.21:2380,first=https://10.88.0.11:2380" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := InitialCluster([]etcd.Member{e1}, first, "first"); err == nil {
		t.Error("it is not in the list, and there was no error")
	}
	e1.Name = ""
	if _, err := InitialCluster([]etcd.Member{e1, own}, first, "first"); err == nil {
		t.Error("another one has not started, and there was no error")
	}
}
