package state

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// metaSeal is the key of the seal in the meta bucket.
const metaSeal = "seal"

// seal is a digest of all that the journal holds after a commit. Without it, one
// letter of a value that has become another would be believed: bbolt has no
// checksums for its data.
type seal struct {
	// Tx is the transaction that it was made in. A version that knows no seals
	// leaves an old one behind when it writes, which is then none.
	Tx     int    `json:"tx"`
	SHA256 string `json:"sha256"`
}

var errSeal = fmt.Errorf("what it holds is not what was written: %w", berrors.ErrInvalid)

// sealed runs fn and seals what it leaves.
func sealed(tx *bolt.Tx, fn func(*bolt.Tx) error) error {
	if err := fn(tx); err != nil {
		return err
	}
	sum, err := digest(tx, nil)
	if err != nil {
		return err
	}
	return put(tx.Bucket([]byte(bucketMeta)), []byte(metaSeal), seal{tx.ID(), sum})
}

// readAll reads every entry of every bucket: damage is to be found before the
// first step is begun, not in its middle.
func readAll(tx *bolt.Tx) error {
	sum, err := digest(tx, func(value []byte) error {
		if !json.Valid(value) {
			return errNoJSON
		}
		return nil
	})
	meta := tx.Bucket([]byte(bucketMeta))
	if err != nil || meta == nil {
		return err
	}
	s, there, err := get[seal](meta, []byte(metaSeal))
	if err != nil {
		return fmt.Errorf("%w: %w", errSeal, err)
	}
	if there && s.Tx == tx.ID() && s.SHA256 != sum {
		return errSeal
	}
	return nil
}

// digest is over all buckets, their keys and values and how far they have
// counted, but for the seal itself. It shows each value to see.
func digest(tx *bolt.Tx, see func(value []byte) error) (string, error) {
	h := sha256.New()
	err := tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		add(h, name)
		add(h, number(b.Sequence()))
		return b.ForEach(func(key, value []byte) error {
			if see != nil {
				if err := see(value); err != nil {
					return err
				}
			}
			if string(name) != bucketMeta || string(key) != metaSeal {
				add(h, key)
				add(h, value)
			}
			return nil
		})
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// add puts a part into a digest, with its length before it: parts do not run
// together.
func add(h hash.Hash, part []byte) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
	h.Write(part)
}
