package nginx

import "testing"

// TestChangedLines: what else is in somebody's nginx.conf goes into no plan.
func TestChangedLines(t *testing.T) {
	t.Parallel()
	conf := []byte("user www-data;\nevents {\n\tworker_connections 768;\n}\nhttp {\n\tproxy_set_header Authorization \"Basic c2VjcmV0\";\n}\n")
	changed, err := raiseConnections(conf, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if before, after := changedLines(conf, changed); before != "\tworker_connections 768;\n" || after != "\tworker_connections 1024;\n" {
		t.Errorf("shown are %q and %q", before, after)
	}
	split := []byte("worker_connections\n 768\n;")
	if changed, err = raiseConnections(split, 1000); err != nil {
		t.Fatal(err)
	}
	if before, after := changedLines(split, changed); before != " 768\n" || after != " 1024\n" {
		t.Errorf("over two lines, shown are %q and %q", before, after)
	}
}
