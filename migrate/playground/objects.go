package playground

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	configMaps = "configmaps"
	secrets    = "secrets"

	// namespaces is over how many the objects are spread.
	namespaces = 10
	// objectBytes is what one object takes in etcd's database, on average
	// (measured with 7,500 and 30,000).
	objectBytes = 6700
)

// object is one of the ConfigMaps and Secrets a cluster is filled with. No
// controller has work with either; kube-controller-manager only keeps them in
// memory, and each namespace gets its kube-root-ca.crt.
type object struct {
	resource, namespace, name string
	number                    int
	bytes                     int // of data, on average
}

// objectAt returns the object of a number, from 0 on. It is the same one in
// every playground: another `up` finds what an interrupted one wrote, and two
// rehearsals carry the same data.
func objectAt(number int) object {
	// Of ten objects in an old cluster many are settings, some certificates
	// and tokens, and a few are what Helm keeps of a release, which is most
	// of the bytes.
	const mixture = "sscsHscscH"
	o := object{
		namespace: namespace(number / len(mixture) % namespaces),
		number:    number,
	}
	switch mixture[number%len(mixture)] {
	case 's':
		o.resource, o.name, o.bytes = configMaps, fmt.Sprintf("settings-%06d", number), 1000
	case 'c':
		o.resource, o.name, o.bytes = secrets, fmt.Sprintf("certificate-%06d", number), 4000
	case 'H':
		o.resource, o.name, o.bytes = secrets, fmt.Sprintf("release-%06d", number), 18000
	}
	return o
}

// namespace is the name of one of the namespaces, from 0 on.
func namespace(i int) string { return fmt.Sprintf("objects-%d", i+1) }

// key tells objects apart.
func (o object) key() string { return o.resource + "/" + o.namespace + "/" + o.name }

// body is the object as it is sent. Its data is random, so that nothing on
// its way into a disk can make it smaller, and half to one and a half times
// o.bytes long.
func (o object) body() runtime.Object {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(o.number))
	random := rand.NewChaCha8(seed)
	data := make([]byte, o.bytes/2+int(random.Uint64()%uint64(o.bytes)))
	_, _ = random.Read(data) // never fails, by its documentation
	meta := metav1.ObjectMeta{
		Namespace: o.namespace, Name: o.name,
		Labels: map[string]string{"app.kubernetes.io/managed-by": "migrate-playground"},
	}
	if o.resource == configMaps {
		text := base64.StdEncoding.EncodeToString(data)[:len(data)]
		return &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"settings": text}}
	}
	return &corev1.Secret{ObjectMeta: meta, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"data": data}}
}
