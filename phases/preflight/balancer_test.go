package preflight_test

import (
	"testing"

	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
)

// meaning gives the endpoint a name, right everywhere but on one node.
func meaning(node, address string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		w.Spec.Endpoint.Host = "cluster-endpoint"
		for _, n := range []string{"cp1", "cp2", "cp3", "w1", "w2"} {
			is := "10.88.0.5"
			if n == node || node == "" {
				is = address
			}
			root(n, "echo '127.0.0.1 localhost' > /etc/hosts; echo '"+is+" cluster-endpoint' >> /etc/hosts")(t, w)
		}
	}
}

// all does one thing after the other.
func all(list ...func(*testing.T, *simulator.World)) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		for _, f := range list {
			f(t, w)
		}
	}
}

// stream gives lb2 the stream module, and files.
func stream(script string) func(*testing.T, *simulator.World) {
	return root("lb2", "apt-get install libnginx-mod-stream\n"+script)
}

func balancerFaults() []fault {
	const nginxConf = "/etc/nginx/nginx.conf"
	return []fault{
		{"a name that means the first node", "EndpointName", "w1", preflight.Blocking, []string{"10.88.0.11, which is cp1", "lb1, 10.88.0.5", "sed -i -e 's/^\\s*10\\.88\\.0\\.11\\s\\+cluster-endpoint\\s*\\(#.*\\)\\?$/10.88.0.5 cluster-endpoint/' /etc/hosts"}, meaning("", "10.88.0.11")},
		{"a name that means the node itself", "EndpointName", "cp1", preflight.Blocking, []string{"127.0.1.1, which is the node itself", "10.88.0.5 cluster-endpoint"}, meaning("cp1", "127.0.1.1")},
		{"a name that means the node's own address", "EndpointName", "cp1", preflight.Blocking, []string{"10.88.0.11, which is cp1"}, meaning("cp1", "10.88.0.11")},
		{"one worker's line is wrong", "EndpointName", "w2", preflight.Blocking, []string{"10.88.0.11, which is cp1"}, meaning("w2", "10.88.0.11")},
		{"an old line beside the right one", "EndpointName", "w2", preflight.Blocking, []string{"10.88.0.11, which is cp1", `sed -i -e 's/^\s*10\.88\.0\.11\s\+cp1\s\+cluster-endpoint\s*\(#.*\)\?$/10.88.0.11 cp1/' /etc/hosts`},
			all(meaning("", "10.88.0.5"), root("w2", "echo '10.88.0.11 cp1 cluster-endpoint # old' >> /etc/hosts"))},
		{"an address of nobody", "EndpointName", "w1", preflight.Warning, []string{"10.88.0.200, which is an address of no host"}, meaning("", "10.88.0.200")},
		{"clients follow the name already", "EndpointName", "w1", preflight.Blocking, []string{"--ignore-preflight EndpointName", "listen first"},
			all(meaning("", "10.88.0.11"), root("w1", "sed 's|server: .*|server: https://cluster-endpoint:6443|' /etc/kubernetes/kubelet.conf > /tmp/k; cp /tmp/k /etc/kubernetes/kubelet.conf"))},
		{"a stream block in an included file", "LoadBalancerConfig", "lb2", preflight.Blocking, []string{"/etc/nginx/tcpconf.d/kubernetes:1", "kind: external"},
			stream("mkdir -p /etc/nginx/tcpconf.d; echo 'stream { server { listen 8443; } }' > /etc/nginx/tcpconf.d/kubernetes; echo 'include /etc/nginx/tcpconf.d/*;' >> " + nginxConf)},
		{"the port is nginx's own", "LoadBalancerConfig", "lb2", preflight.Blocking, []string{"nginx's already", "/etc/nginx/conf.d/x.conf:1"},
			stream("echo 'server { listen 6443; }' > /etc/nginx/conf.d/x.conf")},
		{"nginx refuses what it has", "LoadBalancerConfig", "lb2", preflight.Blocking, []string{"refuses its configuration as it is now", `unknown directive "streem"`}, stream("echo 'streem { }' >> " + nginxConf)},
		{"SELinux does not say", "LoadBalancerConfig", "lb2", preflight.Warning, []string{"semanage port -a -t http_port_t -p tcp 6443"},
			all(stream(""), hardware("lb2", func(h *simulator.Hardware) { h.Forbidden = []int{6443} }))},
	}
}

// TestOthersBalancerThatWorks: what only looks unusual is let pass.
func TestOthersBalancerThatWorks(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*testing.T, *simulator.World){
		"a name with the right meaning":   meaning("", "10.88.0.5"),
		"a virtual address":               all(meaning("", "10.88.0.50"), hardware("lb2", func(h *simulator.Hardware) { h.Addresses = []string{"10.88.0.50"} })),
		"mail and an include of any mask": stream("echo 'mail { }' >> /etc/nginx/nginx.conf; echo 'stream { include streams-enabled/*; }' >> /etc/nginx/nginx.conf"),
		"a module that is not loaded":     stream("rm /etc/nginx/modules-enabled/50-mod-stream.conf"),
		"port 80 is taken":                hardware("lb1", func(h *simulator.Hardware) { h.No80 = true }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, x := range bad(look(t, preflight.Options{}, arrange)) {
				if x.Check == "EndpointName" || x.Check == "EndpointReached" || x.Check == "LoadBalancerConfig" || x.Check == "LoadBalancerInstall" {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}
