package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// write puts a file into a fresh folder.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const longSecret = "a secret of the tests, long enough\n"

func TestNoFileIsOneDurableNodeOnLoopback(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	c, err := Load("", Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "n1" || c.Store != DefaultStore || c.NATS.Listen != "127.0.0.1:4222" || c.Monitor.Listen != "127.0.0.1:8222" {
		t.Errorf("defaults: %+v", c)
	}
	if len(c.Cluster.Members) != 1 || c.Cluster.Members[0].Name != "n1" {
		t.Errorf("members: %+v", c.Cluster.Members)
	}
	if secret, err := c.Secret(); secret != nil || err != nil {
		t.Errorf("secret %q, %v", secret, err)
	}
	if config, err := c.MeshTLS(); config != nil || err != nil {
		t.Errorf("TLS %v, %v", config, err)
	}
	if d := Default(); !reflect.DeepEqual(c, d) {
		t.Errorf("Default is %+v, Load of no file %+v", d, c)
	}
}

func TestStoreIsTheStateDirectoryOfSystemd(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/holdfast:/var/lib/other")
	if c := Default(); c.Store != "/var/lib/holdfast" {
		t.Errorf("store %q", c.Store)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	path := write(t, "c.toml", "store = \"/file\"\n[nats]\nlisten = \"127.0.0.1:1\"\n[monitor]\nlisten = \"127.0.0.1:2\"\n", 0o644)
	c, err := Load(path, Overrides{Store: "flag", Listen: "127.0.0.1:0", Monitor: "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Store != "flag" || c.NATS.Listen != "127.0.0.1:0" || c.Monitor.Listen != "127.0.0.1:3" {
		t.Errorf("%+v", c)
	}
	if c, err = Load(path, Overrides{}); err != nil || c.Store != "/file" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRelativePathsStartAtTheFile(t *testing.T) {
	path := write(t, "c.toml", "store = \"data\"\n[nats]\ninclude = \"c.toml\"\n", 0o644)
	c, err := Load(path, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	if c.Store != filepath.Join(folder, "data") || c.NATS.Include != path {
		t.Errorf("store %q, include %q", c.Store, c.NATS.Include)
	}
}

// What the file says of the example's surroundings, on the machine of the test.
func exampleHere(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	secret := write(t, "cluster.secret", longSecret, 0o600)
	return strings.ReplaceAll(string(text), "/etc/holdfast/cluster.secret", secret)
}

func TestExampleIsValid(t *testing.T) {
	c, err := Load(write(t, "config.toml", exampleHere(t), 0o644), Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "n1" || len(c.Cluster.Members) != 3 || c.Cluster.Members[2].Routes != "10.0.0.3:6222" {
		t.Errorf("%+v", c)
	}
	if secret, err := c.Secret(); err != nil || string(secret) != strings.TrimSpace(longSecret) {
		t.Errorf("secret %q, %v", secret, err)
	}
}

// Every key is in the example, in its table, set or commented out, below a
// comment; and nothing else is.
func TestExampleDocumentsEveryKey(t *testing.T) {
	text := exampleHere(t)
	uncommented := regexp.MustCompile(`(?m)^#(\w+ = |\[)`).ReplaceAllString(text, "$1")
	var decoded Config
	if !decoded.decode(uncommented) || decoded.source.errors() != nil {
		t.Fatal(decoded.source.errors())
	}
	lines := strings.Split(uncommented, "\n")
	for _, key := range keys("", reflect.TypeFor[Config]()) {
		line, ok := decoded.source.lines[key]
		if !ok {
			t.Errorf("the key %s is missing", key)
		} else if !strings.HasPrefix(lines[line-2], "# ") {
			t.Errorf("line %d: no comment above %s", line, key)
		}
	}
}

// keys lists the paths of all keys that are values.
func keys(path string, of reflect.Type) []string {
	switch of.Kind() {
	case reflect.Slice:
		return keys(path+"[0]", of.Elem())
	case reflect.Struct:
		var all []string
		for i := range of.NumField() {
			if key, ok := of.Field(i).Tag.Lookup("toml"); ok {
				all = append(all, keys(join(path, key), of.Field(i).Type)...)
			}
		}
		return all
	}
	return []string{path}
}

func TestWhenMajorityIsLost(t *testing.T) {
	c := Default()
	for value, want := range map[string]bool{Continue: true, Wait: false} {
		if c.Cluster.WhenMajorityLost = value; c.ContinueWhenLost() != want {
			t.Errorf("%s: %v", value, !want)
		}
	}
	c.Cluster.WhenMajorityLost = ""
	c.Store = "/proc/self" // neither tmpfs nor ramfs
	if c.ContinueWhenLost() {
		t.Error("goes on by itself on /proc")
	}
	c.Store = "/dev/shm/no/such/folder"
	if _, err := os.Stat("/dev/shm"); err == nil && !c.ContinueWhenLost() {
		t.Error("waits on tmpfs")
	}
}
