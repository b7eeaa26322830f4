package main

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"hamigrate/migrate/show"
)

// grid is a table for a person. Its cells are quoted as all else that is printed.
type grid struct{ t table.Writer }

// newTable makes a table that Render prints to w.
func newTable(w io.Writer, header ...any) grid {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options.SeparateColumns = false
	t.Style().Options.DrawBorder = false
	t.AppendHeader(table.Row(header))
	return grid{t}
}

// columns sets how wide columns may be.
func (g grid) columns(of ...table.ColumnConfig) { g.t.SetColumnConfigs(of) }

// add adds a row. Each cell is on one line of the program's; a long one may be
// wrapped.
func (g grid) add(cells ...any) {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = string(show.Cell(cell))
	}
	g.t.AppendRow(row)
}

// separate draws a line between two rows.
func (g grid) separate() { g.t.AppendSeparator() }

// Render prints the table.
func (g grid) Render() { g.t.Render() }
