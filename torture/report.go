package main

import (
	"fmt"
	"slices"
	"strings"
)

// report is Markdown: a column for each result.
func report(results []*result) string {
	var b strings.Builder
	row := func(title string, cell func(*result) string) {
		fmt.Fprintf(&b, "| %s |", title)
		for _, r := range results {
			fmt.Fprintf(&b, " %s |", cell(r))
		}
		b.WriteString("\n")
	}
	row("", func(r *result) string { return fmt.Sprintf("%s, %d nodes", r.target.Title, r.size) })
	b.WriteString("| --- |" + strings.Repeat(" ---: |", len(results)) + "\n")
	row("seed", func(r *result) string { return fmt.Sprint(r.seed) })
	row("time under faults", func(r *result) string { return r.length.String() })
	for k := range kindCount {
		row(k.String(), func(r *result) string {
			count := 0
			for _, one := range r.records {
				if one.kind == k {
					count++
				}
			}
			return fmt.Sprint(count)
		})
	}
	row("memory of a majority lost at once, then `holdfast found`", func(r *result) string {
		if r.disasters == "" {
			return "0"
		}
		return "1"
	})
	row("messages acknowledged", func(r *result) string { return fmt.Sprint(r.acknowledged) })
	for rule := range ruleCount {
		row(rule.String(), func(r *result) string {
			if rule == writesOneByOne || rule == readsUpToDate {
				return r.keyCell(rule)
			}
			return fmt.Sprint(r.counts[rule])
		})
	}
	row("restarts of all nodes to help", func(r *result) string { return fmt.Sprint(r.helped) })
	row("longest unavailability", func(r *result) string {
		longest, _ := longestSilence(r.answered, r.outages)
		return fmt.Sprintf("%.2f s", longest.Seconds())
	})
	row("first acknowledgement after a fault (median / 90 % / longest)", func(r *result) string {
		var all durations
		for _, d := range recovery(r.answered, r.records) {
			all = append(all, d...)
		}
		return all.String()
	})
	row("whole again after a fault (median / 90 % / longest)", func(r *result) string {
		var all durations
		for _, d := range wholeAgain(r.records) {
			all = append(all, d...)
		}
		return all.String()
	})
	return b.String()
}

func (r *result) keyCell(of rule) string {
	text := fmt.Sprintf("%d of %d", r.counts[of], r.keys)
	if r.undecided > 0 {
		text += fmt.Sprintf(" (%d undecided)", r.undecided)
	}
	return text
}

// details are the times by kind of fault, and what was found.
func (r *result) details() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d nodes, seed %d: %d messages acknowledged, %d operations on %d keys, %d faults\n",
		r.target.Title, r.size, r.seed, r.acknowledged, r.operations, r.keys, len(r.records))
	longest, at := longestSilence(r.answered, r.outages)
	fmt.Fprintf(&b, "longest unavailability %.2f s, from %.3f s on\n", longest.Seconds(), at.Seconds())
	if sum := r.held.total(); sum > 0 {
		fmt.Fprintf(&b, "this program itself got no processor time for %.2f s: that is not in it, but in the times below; the machine is too busy for them\n", sum.Seconds())
	}
	first, whole := recovery(r.answered, r.records), wholeAgain(r.records)
	fmt.Fprintf(&b, "%-36s %5s  %-26s %s\n", "median / 90 % / longest", "", "first acknowledgement", "whole again")
	for k := range kindCount {
		count := len(slices.DeleteFunc(slices.Clone(r.records), func(one *record) bool { return one.kind != k }))
		if count > 0 {
			fmt.Fprintf(&b, "%-36s %5d  %-26s %s\n", k, count, first[k], whole[k])
		}
	}
	for _, example := range r.examples {
		fmt.Fprintf(&b, "BROKEN %s\n", example)
	}
	return b.String()
}
