package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// managedByLabel and managedBy mark what the probe makes.
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "migrate"
	// pathLabel names the path through which a ConfigMap was written.
	pathLabel = "migrate/probe-path"
)

// setupTimeout bounds the set-up, and the removal, through one path.
const setupTimeout = 10 * time.Second

// maxNamespaces is how many names are tried: a namespace of an earlier probe
// that is still terminating takes no new objects, and may stay so for ever
// when an aggregated API does not answer.
const maxNamespaces = 9

// prepare makes the namespace and the ConfigMap that is read, through the
// first path that lets it.
func (p *Probe) prepare(ctx context.Context) (target, error) {
	var errs []error
	for _, path := range p.cfg.Paths {
		t, err := p.prepareThrough(ctx, path)
		if err == nil {
			return t, nil
		}
		errs = append(errs, fmt.Errorf("path %s: %w", path.Name, err))
	}
	return target{}, fmt.Errorf("setting up the probe's namespace %s: %w", p.cfg.Namespace, errors.Join(errs...))
}

func (p *Probe) prepareThrough(ctx context.Context, path Path) (target, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	ep, err := newEndpoint(p.cfg, path)
	if err != nil {
		return target{}, err
	}
	client, err := ep.kept(p.cfg.Namespace, func() {})
	if err != nil {
		return target{}, err
	}
	defer client.close()
	if !p.cfg.Guest {
		if client.namespace, err = client.ensureNamespace(ctx, p.cfg.Namespace); err != nil {
			return target{}, err
		}
	}
	cm, err := client.create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name:   "target-" + p.runID,
			Labels: map[string]string{managedByLabel: managedBy},
		},
		Data: map[string]string{"purpose": "the availability probe of a migration reads this"},
	})
	if err != nil {
		err = fmt.Errorf("creating the ConfigMap to read: %w", err)
		if !p.cfg.Guest {
			err = errors.Join(err, client.deleteNamespace(ctx))
		}
		return target{}, err
	}
	return target{namespace: client.namespace, name: cm.Name, uid: cm.UID}, nil
}

// ensureNamespace returns a namespace of ours that takes objects: the wanted
// name, or the first of name-2, name-3 … when that is terminating.
func (a *api) ensureNamespace(ctx context.Context, wanted string) (string, error) {
	for i := 1; i <= maxNamespaces; i++ {
		name := wanted
		if i > 1 {
			name = fmt.Sprintf("%s-%d", wanted, i)
		}
		usable, err := a.tryNamespace(ctx, name)
		if err != nil {
			return "", err
		}
		if usable {
			return name, nil
		}
	}
	return "", fmt.Errorf("namespaces %s to %s-%d are all terminating: see why with `kubectl get namespace %s -o yaml`",
		wanted, wanted, maxNamespaces, wanted)
}

func (a *api) tryNamespace(ctx context.Context, name string) (usable bool, err error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{managedByLabel: managedBy},
	}}
	err = a.rest.Post().MaxRetries(0).Resource("namespaces").Body(ns).Do(ctx).Error()
	if err == nil {
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("creating namespace %s: %w", name, err)
	}
	found := &corev1.Namespace{}
	if err := a.rest.Get().MaxRetries(0).Resource("namespaces").Name(name).Do(ctx).Into(found); err != nil {
		return false, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	if found.Labels[managedByLabel] != managedBy {
		return false, fmt.Errorf("namespace %s exists and is not the probe's (no label %s=%s): give the probe another name",
			name, managedByLabel, managedBy)
	}
	return found.DeletionTimestamp == nil, nil
}

// removeNamespace asks for the namespace's deletion through the first path
// that answers. Kubernetes empties and removes it in the next seconds.
func (p *Probe) removeNamespace(ctx context.Context, paths []*pathProbe) error {
	if p.cfg.Guest {
		return nil
	}
	var errs []error
	for _, pp := range paths {
		ctx, cancel := context.WithTimeout(ctx, setupTimeout)
		err := pp.writes.deleteNamespace(ctx)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("path %s: %w", pp.path.Name, err))
	}
	return errors.Join(errs...)
}

// deleteNamespace deletes the client's namespace; one that is gone is success.
func (a *api) deleteNamespace(ctx context.Context) error {
	err := a.rest.Delete().MaxRetries(0).Resource("namespaces").Name(a.namespace).
		Body(&metav1.DeleteOptions{}).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the probe's namespace %s: %w", a.namespace, err)
	}
	return nil
}
