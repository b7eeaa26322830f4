package simulator

import "slices"

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
