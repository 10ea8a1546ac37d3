package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// decode fills c from the text of a file. Problems of its shape (unknown keys,
// values of the wrong type) are noted, all of them; it returns false when the
// text is not TOML at all, which is noted as well.
func (c *Config) decode(text string) bool {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		problem := Problem{File: c.source.file, Text: err.Error()}
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			problem.Line, problem.Text = syntax.Position.Line, syntax.Message
		}
		c.source.shape = Errors{problem}
		return false
	}
	c.source.lines = findLines(text)
	d := decoder{source: &c.source}
	d.table("", tree, reflect.ValueOf(c).Elem())
	return true
}

type decoder struct{ source *source }

// table fills a struct from a TOML table.
func (d *decoder) table(path string, tree map[string]any, target reflect.Value) {
	fields := map[string]reflect.Value{}
	var known []string
	for i := range target.NumField() {
		if key, ok := target.Type().Field(i).Tag.Lookup("toml"); ok {
			fields[key] = target.Field(i)
			known = append(known, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		field, ok := fields[key]
		if !ok {
			d.complain(join(path, key), "unknown key %q%s%s", key, within(path), suggestion(key, known))
			continue
		}
		d.value(join(path, key), tree[key], field)
	}
}

func (d *decoder) value(path string, value any, target reflect.Value) {
	switch target.Kind() {
	case reflect.Struct:
		if tree, ok := value.(map[string]any); ok {
			d.table(path, tree, target)
			return
		}
		d.complain(path, "%s must be a table ([%s]), it is %s", path, path, typeName(value))
	case reflect.Slice:
		trees, ok := tables(value)
		if !ok {
			d.complain(path, "%s must be a list of tables ([[%s]]), it is %s", path, path, typeName(value))
			return
		}
		target.Set(reflect.MakeSlice(target.Type(), len(trees), len(trees)))
		for i, tree := range trees {
			d.table(fmt.Sprintf("%s[%d]", path, i), tree, target.Index(i))
		}
	case reflect.String:
		if text, ok := value.(string); ok {
			target.SetString(text)
			return
		}
		d.complain(path, "%s must be a string in quotes, it is %s", path, typeName(value))
	case reflect.Int:
		if number, ok := value.(int64); ok && number > 0 && number <= math.MaxInt32 {
			target.SetInt(number)
			return
		}
		d.complain(path, "%s must be a whole number from 1 to %d, it is %s", path, math.MaxInt32, typeName(value))
	default:
		panic("config: no TOML value is made for " + target.Type().String())
	}
}

func (d *decoder) complain(path, format string, args ...any) {
	d.source.shape = append(d.source.shape, d.source.at(path, format, args...))
}

// tables returns the elements of [[name]] or of a list of inline tables.
func tables(value any) ([]map[string]any, bool) {
	switch list := value.(type) {
	case []map[string]any:
		return list, true
	case []any:
		trees := make([]map[string]any, len(list))
		for i, element := range list {
			tree, ok := element.(map[string]any)
			if !ok {
				return nil, false
			}
			trees[i] = tree
		}
		return trees, true
	}
	return nil, false
}

// within says in which table a key stands: [cluster], [[cluster.member]].
func within(path string) string {
	if path == "" {
		return ""
	}
	if name, _, ok := strings.Cut(path, "["); ok {
		return " in [[" + name + "]]"
	}
	return " in [" + path + "]"
}

func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date or time"
}
