package kube

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
)

// pageSize is how many objects one answer may have. ConfigMaps and Secrets are up
// to 1 MiB each, so one may all the same be longer than maxAnswer: see each.
const pageSize = 100

// maxObjects is more than any list of a cluster has (Kubernetes is built for
// 150,000 pods). An API server that has more to say goes on for ever.
const maxObjects = 1_000_000

var errEndless = errors.New("the list does not end")

// each lists objects page by page and calls see with each of them, a pointer to
// one of the list's items. what names them for errors.
func each[T runtime.Object, L runtime.Object](ctx context.Context, what string, o metav1.ListOptions,
	list func(context.Context, metav1.ListOptions) (L, error), see func(T)) error {
	n, pages := 0, 0
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		if pages++; pages > maxObjects/pageSize {
			return nil, fmt.Errorf("%w: more than %d answers", errEndless, maxObjects/pageSize)
		}
		// Helm keeps its releases in Secrets of hundreds of kilobytes: a page of them may
		// be too long. The same page is asked for with half as many, down to one.
		for {
			found, err := list(ctx, o)
			if err == nil || !errors.Is(err, errTooMuch) || o.Limit == 1 {
				return found, err
			}
			o.Limit /= 2
		}
	})
	p.PageSize, p.PageBufferSize = pageSize, 0
	err := p.EachListItem(ctx, o, func(found runtime.Object) error {
		if n++; n > maxObjects {
			return fmt.Errorf("%w: more than %d", errEndless, maxObjects)
		}
		one, ok := found.(T)
		if !ok {
			return fmt.Errorf("there is a %T among them", found)
		}
		if err := checkName(one); err != nil {
			return err
		}
		see(one)
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing %s: %w", what, err)
	}
	return nil
}

// ErrName is an object with a name that Kubernetes lets nobody give.
var ErrName = errors.New("no name of Kubernetes")

// checkName refuses an object whose name or namespace is none. Names go into paths,
// sentences, and commands that a person is told to run; the API server checks them
// where an object is made (apimachinery: validation.NameIsDNSSubdomain), and one
// that shows another is none to be believed.
func checkName(o runtime.Object) error {
	m, err := meta.Accessor(o)
	if err != nil {
		return fmt.Errorf("reading its name: %w", err)
	}
	for _, name := range []string{m.GetName(), m.GetNamespace()} {
		if name != "" && len(validation.NameIsDNSSubdomain(name, false)) > 0 {
			return fmt.Errorf("%w: %.80q", ErrName, name)
		}
	}
	return nil
}
