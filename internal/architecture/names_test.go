package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testDefined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	testNamed   = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
)

// strange returns the tests that a text names and that are not among those there.
func strange(text string, there map[string]bool) (names []string) {
	for _, name := range testNamed.FindAllString(text, -1) {
		if !there[name] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// TestDocumentsNameTestsThatExist: an argument that rests on a test which is gone,
// or has another name, rests on nothing.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	root := filepath.Join("..", "..")
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := os.ReadFile(file)
		for _, found := range testDefined.FindAllSubmatch(source, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, document := range append(documents, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		named += len(testNamed.FindAllString(string(text), -1))
		for _, name := range strange(string(text), there) {
			t.Errorf("%s names %s, which is no test", document, name)
		}
	}
	if named < 100 {
		t.Errorf("the documents name %d tests: is the pattern right?", named)
	}
	if got := strange("see `TestModule` and `TestOfNothing`", there); !slices.Equal(got, []string{"TestOfNothing"}) {
		t.Errorf("strange are %v", got)
	}
}
