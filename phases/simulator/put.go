package simulator

// Object is any object of the API.
type Object = object

// PutObject makes an object as somebody else would.
func (w *World) PutObject(resource string, obj Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.create(resource, obj))
}
