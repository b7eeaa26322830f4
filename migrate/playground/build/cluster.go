package build

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// artifactsFile holds an Artifacts with paths relative to its folder.
const artifactsFile = "artifacts.json"

// hostPrograms go into Artifacts.BinDir.
func hostPrograms() []string {
	return []string{"kubelet", "kubeadm", "kubectl", "etcd", "etcdctl", "etcdutl"}
}

// imageNames asks kubeadm for the names of the images of a version. With a
// version named, kubeadm asks nobody else.
func imageNames(ctx context.Context, t tools, kubeadm, version string) ([]string, error) {
	out, err := t.output(ctx, kubeadm, "config", "images", "list", "--kubernetes-version", "v"+version)
	if err != nil {
		return nil, fmt.Errorf("asking kubeadm for its images: %w", err)
	}
	return strings.Fields(out), nil
}

// versionsOf reads the versions out of the names of the images.
func versionsOf(names []string) (Artifacts, error) {
	var a Artifacts
	for _, image := range names {
		component, tag, err := splitImage(image)
		if err != nil {
			return Artifacts{}, err
		}
		switch component {
		case "kube-apiserver":
			a.Kubernetes = strings.TrimPrefix(tag, "v")
		case "etcd":
			a.Etcd = tag
		case "coredns":
			a.CoreDNS = tag
		case "pause":
			a.Pause = tag
		}
	}
	if a.Kubernetes == "" || a.Etcd == "" || a.CoreDNS == "" || a.Pause == "" {
		return Artifacts{}, fmt.Errorf("kubeadm names no image of kube-apiserver, etcd, coredns or pause: %s", strings.Join(names, " "))
	}
	return a, nil
}

// writeCluster fills dir with the result: bin with the programs for hosts,
// images with one archive an image, and artifacts.json. binary returns where
// a binary is, network is the tar of the network tools.
func writeCluster(ctx context.Context, dir string, names []string, binary func(string) string, network string, advance func(float64)) error {
	arts, err := versionsOf(names)
	if err != nil {
		return err
	}
	bin, images := filepath.Join(dir, "bin"), filepath.Join(dir, "images")
	for _, d := range []string{bin, images} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	for _, program := range hostPrograms() {
		if program == "kubectl" && !exists(binary(program)) {
			continue
		}
		if err := linkOrCopy(binary(program), filepath.Join(bin, program)); err != nil {
			return err
		}
	}
	for i, image := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		recipe, err := recipeFor(image)
		if err != nil {
			return err
		}
		component, _, err := splitImage(image)
		if err != nil {
			return err
		}
		file := filepath.Join("images", component+".tar")
		if err := writeImage(filepath.Join(dir, file), image, recipe, binary, network, dir, runtime.GOARCH); err != nil {
			return err
		}
		arts.Images = append(arts.Images, Image{Name: image, Tar: file})
		advance(float64(i+1) / float64(len(names)))
	}
	text, err := json.MarshalIndent(arts, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, artifactsFile), text, 0o644)
}

// linkOrCopy gives a file a second name, or a copy where the two names are
// on different disks.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := dst.ReadFrom(src); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return dst.Close()
}
