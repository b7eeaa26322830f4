# What the stages that failed said, at the end of a long log of `go test -v`:
# whoever sees only its last lines sees this.
$1 == "===" && ($2 == "RUN" || $2 == "NAME" || $2 == "CONT") { at = $3; next }
$1 == "---" { if ($2 == "FAIL:") failed[++count] = $3; next }
{ said[at] = said[at] $0 "\n" }
END {
	for (i = 1; i <= count; i++) {
		name = failed[i]
		if (index(name, "/") == 0) continue # its lines are those of all stages
		text = said[name]
		print "what failed: " name
		if (length(text) > 3000)
			text = substr(text, 1, 1500) "    [...]\n" substr(text, length(text) - 1500)
		print text
	}
}
