package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// finding is what came out for one measure of one node.
type finding struct {
	node    string
	measure measure
	level   float64 // the median of the second half
	rise    float64 // of the trend over the second half
	perHour float64 // the same as a rate
	// rested and later are the measure at rest, before and after.
	rested, later float64
}

// grew tells by which of the two rules a measure grew; "" by none.
func (f finding) grew() string {
	kind := kinds[f.measure]
	switch {
	case f.rise > kind.bound(f.level):
		return "GREW"
	case !kind.keepsRoom && f.later-f.rested > kind.bound(f.rested):
		return "STAYED"
	}
	return ""
}

// findings judges everything that was seen.
func (w *watch) findings() []finding {
	var all []finding
	for m := range measureCount {
		for i, n := range w.nodes {
			if len(w.rested) <= i || len(w.later) <= i || len(w.during[i]) == 0 {
				continue // it ended before
			}
			half := secondHalf(w.during[i])
			slope, level := trend(half, m)
			length := half[len(half)-1].at - half[0].at
			all = append(all, finding{node: n.Name, measure: m, level: level, rise: slope * length.Seconds(), perHour: slope * time.Hour.Seconds(),
				rested: w.rested[i].values[m], later: w.later[i].values[m]})
		}
	}
	return all
}

// secondHalf are the samples of the later half of the time.
func secondHalf(all []sample) []sample {
	middle := all[0].at + (all[len(all)-1].at-all[0].at)/2
	return all[slices.IndexFunc(all, func(s sample) bool { return s.at >= middle }):]
}

// trend is how much a measure rises in a second, and its median. The rise is the
// median of those between any two samples (Theil and Sen): single outliers, a
// leader's more than a follower's, do not matter, steady growth does.
func trend(all []sample, m measure) (slope, level float64) {
	var slopes, values []float64
	for i, a := range all {
		values = append(values, a.values[m])
		for _, b := range all[i+1:] {
			if passed := (b.at - a.at).Seconds(); passed > 0 {
				slopes = append(slopes, (b.values[m]-a.values[m])/passed)
			}
		}
	}
	return median(slopes), median(values)
}

// median is 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// report prints the table and returns how many measures grew.
func report(out io.Writer, all []finding) (grew int) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tnode\tat rest before\tmedian of second half\trise in it\tan hour\tbound\tat rest after\t\t")
	for _, f := range all {
		kind := kinds[f.measure]
		verdict := f.grew()
		if verdict != "" {
			grew++
		}
		cells := []string{kind.name, f.node, kind.show(f.rested), kind.show(f.level), kind.show(f.rise), kind.show(f.perHour),
			kind.show(kind.bound(f.level)), kind.show(f.later), verdict}
		fmt.Fprintln(table, strings.Join(cells, "\t")+"\t")
	}
	_ = table.Flush() // as of every other print
	return grew
}

func (k kindOf) show(value float64) string {
	if k.unit == "B" {
		return fmt.Sprintf("%.2f MiB", value/(1<<20))
	}
	return fmt.Sprintf("%.1f", value)
}
