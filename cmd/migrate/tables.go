package main

import (
	"fmt"
	"io"
	"strings"

	"hamigrate/migrate/show"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// newTable is a table as all commands print it.
func newTable(w io.Writer, header ...any) *grid { return newTableIn(w, show.Columns(w), header) }

// newTableIn is a table for a terminal of some columns; 0: for no terminal.
func newTableIn(w io.Writer, columns int, header table.Row) *grid {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateColumns = false
	t.Style().Options.DrawBorder = false
	t.AppendHeader(header)
	return &grid{t: t, w: w, columns: columns, header: header}
}

// grid is a table whose cells are quoted as all else that is printed. It is printed
// as a list where the terminal is too narrow: a line that the terminal breaks takes
// the columns apart.
type grid struct {
	t       table.Writer
	w       io.Writer
	columns int
	header  table.Row
	rows    []table.Row
}

// widths sets how wide columns may be.
func (g *grid) widths(of ...table.ColumnConfig) { g.t.SetColumnConfigs(of) }

// add adds a row.
func (g *grid) add(cells ...any) {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = string(show.Cell(cell))
	}
	g.rows = append(g.rows, row)
	g.t.AppendRow(row)
}

// separate draws a line between two rows.
func (g *grid) separate() { g.t.AppendSeparator() }

// Render prints the table. Its cells are quoted already.
func (g *grid) Render() {
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
func (g *grid) list() string {
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
