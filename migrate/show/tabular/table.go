// Package tabular prints tables whose cells are quoted as all else that is shown, and
// as lists where a terminal is too narrow for them.
package tabular

import (
	"fmt"
	"io"
	"strings"

	"hamigrate/migrate/show"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// New is a table as all commands print it.
func New(w io.Writer, header ...any) *Table { return NewIn(w, show.Columns(w), header) }

// NewIn is a table for a terminal of some columns; 0: for no terminal.
func NewIn(w io.Writer, columns int, header table.Row) *Table {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateColumns = false
	t.Style().Options.DrawBorder = false
	t.AppendHeader(header)
	return &Table{t: t, w: w, columns: columns, header: header}
}

// Table is a table whose cells are quoted as all else that is printed. It is printed
// as a list where the terminal is too narrow: a line that the terminal breaks takes
// the columns apart.
type Table struct {
	t       table.Writer
	w       io.Writer
	columns int
	header  table.Row
	rows    []table.Row
}

// Widths sets how wide columns may be.
func (g *Table) Widths(of ...table.ColumnConfig) { g.t.SetColumnConfigs(of) }

// Add adds a row.
func (g *Table) Add(cells ...any) {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = string(show.Cell(cell))
	}
	g.rows = append(g.rows, row)
	g.t.AppendRow(row)
}

// Separate draws a line between two rows.
func (g *Table) Separate() { g.t.AppendSeparator() }

// Render prints the table. Its cells are quoted already.
func (g *Table) Render() {
	out := g.t.Render()
	widest := 0
	for line := range strings.Lines(out) {
		widest = max(widest, text.StringWidthWithoutEscSequences(strings.TrimRight(line, " \n")))
	}
	if g.columns > 0 && widest > g.columns {
		out = g.list()
	}
	io.WriteString(g.w, strings.TrimSuffix(out, "\n")+"\n") //nolint:errcheck // a reader that is gone is found out by output
}

// leastText is how narrow a text may get before the terminal may break it.
const leastText = 12

// list has a line for each cell, behind its column's name, and an empty line after
// each row. What has no name, a mark, stands before the first line.
func (g *Table) list() string {
	const indent = "  "
	var b strings.Builder
	for _, row := range g.rows {
		lead := indent
		var cells [][2]string
		for i, cell := range row {
			name, value := fmt.Sprint(g.header[min(i, len(g.header)-1)]), fmt.Sprint(cell)
			switch {
			case value == "":
			case name == "":
				lead = value + " "
			default:
				cells = append(cells, [2]string{name + ": ", value})
			}
		}
		for _, c := range cells {
			room := max(g.columns-len(indent)-len(c[0]), leastText)
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
