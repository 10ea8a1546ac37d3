package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// problems loads a text and returns its problems, without the file's name.
func problems(t *testing.T, text string) []string {
	t.Helper()
	path := write(t, "config.toml", text, 0o644)
	_, err := Load(path, Overrides{})
	if err == nil {
		return nil
	}
	if _, ok := err.(Errors); !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), path, "config.toml"), "\n")
}

// expect checks that there are exactly these problems; each is a prefix.
func expect(t *testing.T, text string, want ...string) {
	t.Helper()
	got := problems(t, text)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("not expected: %s", got[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

const threeOnLoopback = `name = "n1"
[cluster]
name = "edge-1"
[[cluster.member]]
name = "n1"
mesh = "127.0.0.1:7001"
routes = "127.0.0.1:6001"
[[cluster.member]]
name = "n2"
mesh = "127.0.0.1:7002"
routes = "127.0.0.1:6002"
[[cluster.member]]
name = "n3"
mesh = "127.0.0.1:7003"
routes = "127.0.0.1:6003"
`

func TestThreeMembersOnLoopbackNeedNoSecret(t *testing.T) {
	expect(t, threeOnLoopback)
	c, err := Load(write(t, "c.toml", threeOnLoopback, 0o644), Overrides{})
	if err != nil || c.NATS.Routes != "127.0.0.1:6001" {
		t.Errorf("routes default %q, %v", c.NATS.Routes, err)
	}
}

func TestUnknownKeysAreNamedWithTheirLine(t *testing.T) {
	expect(t, `naem = "n1"
store = "/tmp"

[cluster]
"stoer" = "x" # a comment = nothing

[nats]
listen = "127.0.0.1:0"
cluster.port = 3

[[cluster.member]]
name = "n1"
[[cluster.member]]
mash = "127.0.0.1:1"
`,
		`config.toml: name is missing: which of the members is this node?`,
		`config.toml:1: unknown key "naem"; did you mean "name"?`,
		`config.toml:4: cluster.name is missing`,
		`config.toml:5: unknown key "stoer" in [cluster]`,
		`config.toml:9: unknown key "cluster" in [nats]`,
		`config.toml:11: mesh of member "n1" is missing`,
		`config.toml:11: routes of member "n1" is missing`,
		`config.toml:13: the name of this member is missing`,
		`config.toml:13: mesh of member 2 of the list is missing`,
		`config.toml:13: routes of member 2 of the list is missing`,
		`config.toml:14: unknown key "mash" in [[cluster.member]]; did you mean "mesh"?`,
	)
}

func TestEveryProblemIsReported(t *testing.T) {
	text := threeOnLoopback
	for _, change := range [][2]string{
		{`name = "n1"` + "\n[cl", `name = "n9"` + "\nstore = 5\n[cl"},
		{`name = "edge-1"`, "name = \"edge 1\"\nwhen_majority_lost = \"weit\"\n"},
		{`"n2"`, `"N1"`},
		{`"127.0.0.1:7002"`, `"127.0.0.1:7001"`},
		{`"127.0.0.1:6002"`, `"127.0.0.1"`},
		{`"127.0.0.1:7003"`, `"0.0.0.0:7003"`},
		{`routes = "127.0.0.1:6003"`, ""},
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("no %q in the text", change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	expect(t, text+"\n[nats]\nlisten = \"localhost:port\"\ninclude = \"missing.conf\"\n",
		`config.toml:1: name = "n9" is not among the members (n1, N1, n3); did you mean`,
		`config.toml:2: store must be a string in quotes, it is a number`,
		`config.toml:4: cluster.name = "edge 1": letters`,
		`config.toml:5: cluster.when_majority_lost = "weit": it is "continue" or "wait"; did you mean "wait"?`,
		`config.toml:12: member name "N1" is already taken by member 1`,
		`config.toml:13: mesh = "127.0.0.1:7001" of member "N1" is already the mesh address of member "n1"`,
		`config.toml:14: routes = "127.0.0.1" of member "N1": an address is HOST:PORT`,
		`config.toml:15: routes of member "n3" is missing`,
		`config.toml:17: mesh = "0.0.0.0:7003" of member "n3": the others need an address that they can dial`,
		`config.toml:17: mesh = "0.0.0.0:7003" of member "n3" can be reached from other machines, so the cluster needs a secret`,
		`config.toml:21: nats.listen = "localhost:port": port "port" is not a number`,
		`config.toml:22: nats.include: open `,
	)
}

func TestSyntaxErrorsHaveALine(t *testing.T) {
	expect(t, "name = \"n1\"\nstore = [\n", "config.toml:")
	expect(t, "name = \"n1\"\nname = \"n2\"\n", "config.toml:2: ")
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml"), Overrides{}); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestWrongTypesAreNamed(t *testing.T) {
	expect(t, "name = true\nnats = 3\nmonitor = \"x\"\ncluster.member = [1]\nstore = 2026-01-01\n",
		"config.toml:1: name must be a string in quotes, it is true or false",
		"config.toml:2: nats must be a table ([nats]), it is a number",
		"config.toml:3: monitor must be a table ([monitor]), it is a string",
		"config.toml:4: cluster.member must be a list of tables ([[cluster.member]]), it is a list",
		"config.toml:5: store must be a string in quotes, it is a date or time",
	)
	expect(t, "[quarantine]\nstores = 0\nmb = \"much\"\n",
		"config.toml:2: quarantine.stores must be a whole number from 1 to 2147483647, it is a number",
		"config.toml:3: quarantine.mb must be a whole number from 1 to 2147483647, it is a string",
	)
}

func TestPortsOfOneNodeDiffer(t *testing.T) {
	expect(t, "[monitor]\nlisten = \"127.0.0.1:4222\"\n[nats]\nlisten = \"0.0.0.0:4222\"\n",
		"config.toml:4: nats.listen (0.0.0.0:4222) and monitor.listen (127.0.0.1:4222) are the same port")
	expect(t, "[monitor]\nlisten = \"127.0.0.1:0\"\n[nats]\nlisten = \"127.0.0.1:0\"\n")
	expect(t, threeOnLoopback+"[nats]\nroutes = \"127.0.0.1:7001\"\n",
		"config.toml:17: nats.routes (127.0.0.1:7001) and its own mesh address (127.0.0.1:7001) are the same port")
	_, err := Load("", Overrides{Listen: "127.0.0.1:8222"})
	if err == nil || !strings.HasPrefix(err.Error(), "--listen: nats.listen (127.0.0.1:8222) and monitor.listen") {
		t.Errorf("by flag: %v", err)
	}
}

func TestBadFlagIsNamed(t *testing.T) {
	_, err := Load("", Overrides{Monitor: "8222"})
	if err == nil || !strings.HasPrefix(err.Error(), `--monitor: monitor.listen = "8222": an address is HOST:PORT`) {
		t.Errorf("%v", err)
	}
}

func TestPublicAddressNeedsASecret(t *testing.T) {
	public := strings.Replace(threeOnLoopback, "127.0.0.1:7002", "10.0.0.2:7002", 1)
	expect(t, public, `config.toml:10: mesh = "10.0.0.2:7002" of member "n2" can be reached from other machines, so the cluster needs a secret`)
	expect(t, threeOnLoopback+"[nats]\nroutes = \"0.0.0.0:6001\"\n", `config.toml:17: nats.routes = "0.0.0.0:6001" can be reached from other machines`)
	expect(t, "[nats]\nlisten = \"0.0.0.0:4222\"\n") // clients: the operator's own choice

	with := func(path string) string {
		return strings.Replace(public, "name = \"edge-1\"", "name = \"edge-1\"\nsecret_file = \""+path+"\"", 1)
	}
	expect(t, with(write(t, "secret", longSecret, 0o600)))
	expect(t, with(write(t, "secret", longSecret, 0o640)))
	expect(t, with("/no/such/secret"), `config.toml:4: cluster.secret_file: stat /no/such/secret: no such file`)
	expect(t, with(write(t, "secret", "   short\n\n\n\n\n\n\n\n\n\n\n\n", 0o600)), `config.toml:4: cluster.secret_file: the secret in `)
	open := write(t, "secret", longSecret, 0o600)
	for _, mode := range []os.FileMode{0o644, 0o604, 0o620, 0o602} {
		if err := os.Chmod(open, mode); err != nil {
			t.Fatal(err)
		}
		expect(t, with(open), `config.toml:4: cluster.secret_file: `+open+` is open to others (mode 0`)
	}
}

func TestOperatorCertificates(t *testing.T) {
	folder := certificates(t, "n1")
	public := strings.ReplaceAll(threeOnLoopback, "127.0.0.1:70", "10.0.0.1:70")
	section := "\n[cluster.tls]\ncert = \"" + folder + "/n.pem\"\nkey = \"" + folder + "/n.key\"\nca = \"" + folder + "/n.pem\"\n"
	expect(t, public+section)
	expect(t, strings.Replace(public, `"n1"`, `"n2"`, 1)+section, `config.toml:17: cluster.tls: the certificate in `)
	expect(t, public+strings.Replace(section, "ca = ", "#ca = ", 1), "config.toml:17: cluster.tls: cert, key and ca are needed, all three")
	expect(t, public+strings.Replace(section, "n.key", "n.pem", 1), "config.toml:17: cluster.tls: ")
	secret := write(t, "secret", longSecret, 0o600)
	expect(t, strings.Replace(public, "[cluster]", "[cluster]\nsecret_file = \""+secret+"\"", 1)+section,
		"config.toml:18: cluster.secret_file and [cluster.tls] exclude each other")
}

// certificates writes a self-signed certificate for name.
func certificates(t *testing.T, name string) (folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<34, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	for file, block := range map[string]*pem.Block{
		"n.pem": {Type: "CERTIFICATE", Bytes: der},
		"n.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestStoreMustBeAFolder(t *testing.T) {
	file := write(t, "data", "", 0o600)
	expect(t, "store = \""+file+"\"\n", "config.toml:1: store = ")
}

func TestScrubRateHasBounds(t *testing.T) {
	expect(t, "scrub_mb_per_s = 1000\n")
	expect(t, "scrub_mb_per_s = 1001\n", "config.toml:1: scrub_mb_per_s = 1001: from 1 to")
}

func TestStoreLimitHasBounds(t *testing.T) {
	expect(t, "store_limit_mb = 16\n")
	expect(t, "store_limit_mb = 15\n", "config.toml:1: store_limit_mb = 15: from 16 to")
	expect(t, "store_limit_mb = -1\n", "config.toml:1: store_limit_mb must be a whole number from 1 to")
}

func TestLinesOfKeys(t *testing.T) {
	lines := findLines(`a = """
b = 1 # not a key
""" # c = 2
d = [ "x]", # [e]
  "y",
] 
f.g = 'it''s' 
[h . "i j"]
k = { l = 1 }
[[m]]
n = 1
[m.o]
p = 1
[[m]]
n = 2
`)
	for key, want := range map[string]int{
		"a": 1, "d": 4, "f.g": 7, "h.i j": 8, "h.i j.k": 9, "m[0].n": 11, "m[0].o.p": 13, "m[1].n": 15,
		"h.i j.k.l": 9, "m[1].q": 14, "b": 0, "c": 0, "e": 0,
	} {
		if got := lines.of(key); got != want {
			t.Errorf("%s: line %d, want %d", key, got, want)
		}
	}
}

func TestSuggestions(t *testing.T) {
	known := []string{"name", "store", "nats", "monitor", "cluster"}
	for word, want := range map[string]string{"stoer": "store", "nmae": "name", "clusters": "cluster", "xyz": "", "n": ""} {
		got := suggestion(word, known)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

// Whatever the file says, looking through it ends, and names lines that exist.
func FuzzLoad(f *testing.F) {
	f.Add(threeOnLoopback)
	f.Add("a = \"\"\"\n\"\"\"\n[[cluster.member]]\n\"x\".y = [[1],\n{z=']'}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c Config
		if !c.decode(text) {
			return
		}
		for key, line := range c.source.lines {
			if line < 1 || line > strings.Count(text, "\n")+1 {
				t.Errorf("%s on line %d", key, line)
			}
		}
	})
}
