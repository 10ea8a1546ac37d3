package architecture

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Violation is one line of source that breaks a rule.
type Violation struct {
	Position token.Position
	Rule     string
}

// String prints file:line: rule, as compilers do.
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s", v.Position.Filename, v.Position.Line, v.Rule)
}

// CheckFile returns what is wrong with one source file that is not a test. Name
// is its path relative to the root of the module called module, with slashes.
// An error means that the source does not parse.
func CheckFile(module, name string, source []byte) ([]Violation, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse source: %w", err)
	}
	folder := path.Dir(name)
	if folder == "." {
		folder = ""
	}
	place, known := layers[folder]
	c := &checker{set: set, module: module, folder: folder, place: place}
	if !known {
		c.report(file.Name.Pos(), "package %s has no place in layers.go: say there what it may import", file.Name.Name)
		return c.found, nil
	}
	c.size(file, source)
	c.imports(file)
	if place.pure {
		ast.Inspect(file, c.purity)
	}
	return c.found, nil
}

// checker collects the violations of one file.
type checker struct {
	set    *token.FileSet
	module string
	folder string
	place  layer
	// names maps the name under which a package is known in this file to its
	// import path.
	names map[string]string
	found []Violation
}

func (c *checker) report(at token.Pos, format string, args ...any) {
	c.found = append(c.found, Violation{Position: c.set.Position(at), Rule: fmt.Sprintf(format, args...)})
}

// size bounds the file and its functions.
func (c *checker) size(file *ast.File, source []byte) {
	if lines := bytes.Count(source, []byte("\n")); lines > maxFileLines {
		c.report(file.Name.Pos(), "file has %d lines, more than %d: split it by concept", lines, maxFileLines)
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := c.set.Position(function.End()).Line - c.set.Position(function.Pos()).Line + 1
		if lines > maxFunctionLines {
			c.report(function.Pos(), "function %s has %d lines, more than %d", function.Name.Name, lines, maxFunctionLines)
		}
	}
}

// imports checks the direction of the arrows, and for a pure package what it
// pulls in from outside.
func (c *checker) imports(file *ast.File) {
	c.names = make(map[string]string)
	for _, spec := range file.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			c.report(spec.Pos(), "import path %s is not a string", spec.Path.Value)
			continue
		}
		c.names[localName(spec, target)] = target
		switch {
		case target == c.module || strings.HasPrefix(target, c.module+"/"):
			inner := strings.TrimPrefix(strings.TrimPrefix(target, c.module), "/")
			if !slices.Contains(c.place.imports, inner) {
				c.report(spec.Pos(), "%s must not import %s", display(c.folder), display(inner))
			}
		case !c.place.pure || slices.Contains(c.place.external, target):
		case isStandard(target):
			if target != seededRandom && slices.ContainsFunc(impureImports, func(root string) bool { return below(target, root) }) {
				c.report(spec.Pos(), "pure package imports %s", target)
			}
		default:
			c.report(spec.Pos(), "pure package imports %s", target)
		}
		if c.place.pure && spec.Name != nil && spec.Name.Name == "." {
			c.report(spec.Pos(), "pure package imports %s into its own scope, where calls cannot be told apart", target)
		}
	}
}

// purity looks at one node of the syntax tree of a pure package.
func (c *checker) purity(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.GoStmt:
		c.report(node.Pos(), "pure package starts a goroutine")
	case *ast.SelectStmt:
		c.report(node.Pos(), "pure package waits on channels")
	case *ast.ChanType:
		c.report(node.Pos(), "pure package has a channel")
	case *ast.SelectorExpr:
		qualifier, ok := node.X.(*ast.Ident)
		if !ok {
			return true
		}
		target := c.names[qualifier.Name]
		name := node.Sel.Name
		if slices.Contains(impureCalls[target], name) || (target == seededRandom && !slices.Contains(randomConstructors, name)) {
			c.report(node.Pos(), "pure package uses %s.%s", target, name)
		}
	}
	return true
}

// localName is the name that an import gets in its file. The last element of
// the path stands for the package's own name, without a version.
func localName(spec *ast.ImportSpec, target string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	base := path.Base(target)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(target))
	}
	return base
}

// isStandard reports whether an import path belongs to the standard library:
// its first element has no dot.
func isStandard(target string) bool {
	first, _, _ := strings.Cut(target, "/")
	return !strings.Contains(first, ".")
}

// below reports whether an import path is root or inside it.
func below(target, root string) bool {
	return target == root || strings.HasPrefix(target, root+"/")
}

func display(folder string) string {
	if folder == "" {
		return "main"
	}
	return folder
}
