package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// newTable is a table as all commands print it.
func newTable(w io.Writer, header ...any) table.Writer { return newTableIn(w, columns(w), header) }

// newTableIn is a table for a terminal of some columns; 0: for no terminal.
func newTableIn(w io.Writer, columns int, header table.Row) table.Writer {
	t := &fitting{Writer: table.NewWriter(), w: w, columns: columns, header: header}
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateColumns = false
	t.Style().Options.DrawBorder = false
	t.AppendHeader(header)
	return t
}

// columns is the width of a terminal, 0 where w is none or has not said it.
func columns(w io.Writer) int {
	if o, ok := w.(output); ok {
		w = o.file
	}
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// fitting is a table that is printed as a list where the terminal is too narrow:
// a line that the terminal breaks takes the columns apart.
type fitting struct {
	table.Writer
	w       io.Writer
	columns int
	header  table.Row
	rows    []table.Row
}

// AppendRow implements table.Writer.
func (t *fitting) AppendRow(row table.Row, config ...table.RowConfig) {
	t.rows = append(t.rows, row)
	t.Writer.AppendRow(row, config...)
}

// Render implements table.Writer.
func (t *fitting) Render() string {
	out := t.Writer.Render()
	widest := 0
	for line := range strings.Lines(out) {
		widest = max(widest, text.StringWidthWithoutEscSequences(strings.TrimRight(line, " \n")))
	}
	if t.columns > 0 && widest > t.columns {
		out = t.list()
	}
	fmt.Fprintln(t.w, strings.TrimSuffix(out, "\n"))
	return out
}

// leastText is how narrow a text may get before the terminal may break it.
const leastText = 12

// list has a line for each cell, behind its column's name, and an empty line after
// each row. What has no name, a mark, stands before the first line.
func (t *fitting) list() string {
	const indent = "  "
	var b strings.Builder
	for _, row := range t.rows {
		lead := indent
		var cells [][2]string
		for i, cell := range row {
			name, value := fmt.Sprint(t.header[min(i, len(t.header)-1)]), fmt.Sprint(cell)
			switch {
			case value == "":
			case name == "":
				lead = value + " "
			default:
				cells = append(cells, [2]string{name + ": ", value})
			}
		}
		for _, c := range cells {
			room := max(t.columns-len(indent)-len(c[0]), leastText)
			for n, line := range strings.Split(text.WrapSoft(c[1], room), "\n") {
				if n > 0 {
					c[0] = strings.Repeat(" ", len(c[0]))
				}
				b.WriteString(strings.TrimRight(lead+c[0]+line, " ") + "\n")
				lead = indent
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

var _ table.Writer = (*fitting)(nil)
