package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// networkFile is the layer under kube-proxy, in its part.
const networkFile = "network-tools.tar"

// networkSuite is the Debian release the layer is made of.
const networkSuite = "bookworm"

// networkArgs are mmdebstrap's arguments for a file system with what
// kube-proxy runs: iptables, nft, conntrack and ipset. Device nodes are left
// out, because unpacking them needs a right that containers lack, and every
// container gets its own /dev anyway. sources is a sources file, or "" for
// Debian's own mirror.
func networkArgs(target, sources string) []string {
	args := []string{
		"--variant=essential", "--include=iptables,nftables,conntrack,ipset", "--format=tar", "--skip=output/dev",
		// Without it the package that merges /usr comes in, and with it Perl.
		"--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
		`--aptopt=APT::Install-Recommends "false"`, `--aptopt=Acquire::Languages "none"`,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		networkSuite, target,
	}
	if sources != "" {
		args = append(args, sources)
	}
	return args
}

// networkPart makes the layer; it is the same for all Kubernetes versions.
func networkPart(t tools) (part, error) {
	digest, err := digestOf(edition, networkArgs("", ""))
	return part{
		folder: "network-tools", title: "Make the network tools of kube-proxy", seconds: networkSeconds, digest: digest,
		make: func(ctx context.Context, dir string, _ func(float64)) error {
			return t.packages(ctx, filepath.Join(dir, networkFile))
		},
	}, err
}

// aptSources returns the machine's own sources file for networkSuite, so
// that a local mirror is used where there is one, or "" when it has none.
// Only the two files of Debian's installer are looked at: the others name
// third parties.
func aptSources(root string) string {
	for _, file := range []string{"etc/apt/sources.list.d/debian.sources", "etc/apt/sources.list"} {
		file = filepath.Join(root, file)
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), networkSuite) {
			return file
		}
	}
	return ""
}
