package bus

import (
	"fmt"
	"strings"
	"testing"
)

// heardBy collects what a link hears.
func heardBy(l *Link) string {
	var all []string
	l.Heard(func(subject, queue string, listens bool) {
		all = append(all, strings.TrimSpace(fmt.Sprint(subject, " ", queue))+fmt.Sprint("=", listens))
	})
	return strings.Join(all, " ")
}

func TestListenersAreHeardOfAsTheyComeAndGo(t *testing.T) {
	nodes := clustered(t)
	l := nodes[0].link
	for _, n := range nodes {
		n.settle()
	}
	for _, watched := range []listener{{"push.a", ""}, {"push.a", "workers"}, {"push.b", ""}} {
		if l.Watch(watched.subject, watched.queue) {
			t.Fatalf("somebody listens to %v", watched)
		}
	}
	hear := func(want string) {
		t.Helper()
		got := ""
		eventually(t, want, func() bool { got = strings.TrimSpace(got + " " + heardBy(l)); return got == want })
	}
	client := nodes[2].client() // the announcements come over a route
	if _, err := client.SubscribeSync("push.*"); err != nil {
		t.Fatal(err)
	}
	plain, err := client.SubscribeSync("push.a")
	if err != nil {
		t.Fatal(err)
	}
	hear("push.a=true")
	grouped, err := client.QueueSubscribeSync("push.a", "workers")
	if err != nil {
		t.Fatal(err)
	}
	hear("push.a workers=true")
	if !l.Watch("push.a", "workers") || l.Watch("push.a", "others") {
		t.Error("the groups of push.a are not told apart")
	}
	if err := plain.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	hear("push.a=false")
	l.Unwatch("push.a", "workers")
	if err := grouped.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SubscribeSync("push.b"); err != nil {
		t.Fatal(err)
	}
	hear("push.b=true")
}

func TestANewConnectionAnnouncesListenersAnew(t *testing.T) {
	var l Link
	g := &l.out.groups
	g.record(groupChange{subject: "a"}, groupChange{subject: "b"}, groupChange{subject: "c", queue: "q"})
	if !l.Watch("a", "") || !l.Watch("b", "") || !l.Watch("c", "q") {
		t.Fatal("announcements are lost")
	}
	g.reset([]groupChange{{subject: "b"}})
	if got := heardBy(&l); got != "a=false c q=false" {
		t.Errorf("heard %q", got)
	}
	g.record(groupChange{subject: "a"}, groupChange{subject: "a", gone: true})
	if got := heardBy(&l); got != "" {
		t.Errorf("heard %q", got)
	}
}
