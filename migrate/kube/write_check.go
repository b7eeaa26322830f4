package kube

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// WriteAndRead creates a ConfigMap of that name in kube-system through one
// API server, reads it back and deletes it: an API server that is ready may
// still be unable to write.
func WriteAndRead(ctx context.Context, cfg *rest.Config, name string) error {
	return WriteAndReadThere(ctx, cfg, cfg, name)
}

// WriteAndReadThere writes through one API server and reads through another,
// which proves that what the two serve is one etcd: an API server with the
// data of a member that has left the cluster is ready as well.
func WriteAndReadThere(ctx context.Context, cfg, there *rest.Config, name string) error {
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("writing through %s: %w", cfg.Host, err)
	}
	other, err := kubernetes.NewForConfig(there)
	if err != nil {
		return fmt.Errorf("reading through %s: %w", there.Host, err)
	}
	maps := api.CoreV1().ConfigMaps("kube-system")
	wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	made, err := maps.Create(ctx, wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		// An attempt before left it behind, and both may have it.
		if err = maps.Delete(ctx, name, metav1.DeleteOptions{}); err == nil || apierrors.IsNotFound(err) {
			made, err = maps.Create(ctx, wanted, metav1.CreateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("writing through %s: %w", cfg.Host, err)
	}
	read, err := other.CoreV1().ConfigMaps("kube-system").Get(ctx, name, metav1.GetOptions{})
	if err == nil && read.UID != made.UID {
		err = errors.New("another one is there")
	}
	if gone := maps.Delete(ctx, name, metav1.DeleteOptions{}); err == nil && !apierrors.IsNotFound(gone) {
		err = gone // not found: done by a request whose answer was lost
	}
	if err != nil {
		return fmt.Errorf("reading what was written through %s: %w", cfg.Host, err)
	}
	return nil
}
