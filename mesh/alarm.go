package mesh

import (
	"slices"
	"strings"
)

// alarm is something that only a person can put right. It stands as long as its
// cause is seen again at least every patience × RetryTicks.
type alarm struct {
	key    string // what it is about, and whom
	text   string // what happened
	remedy string // which command on which node, and what it gives up
	seen   uint64 // tick at which its cause was seen last
}

// alarm raises an alarm or keeps it up.
func (c *Core) alarm(key, text, remedy string) {
	i, found := slices.BinarySearchFunc(c.alarms, key, func(a alarm, key string) int { return strings.Compare(a.key, key) })
	if found {
		c.alarms[i].text, c.alarms[i].remedy, c.alarms[i].seen = text, remedy, c.now
		return
	}
	c.alarms = slices.Insert(c.alarms, i, alarm{key: key, text: text, remedy: remedy, seen: c.now})
	c.event(Alarm, sentence(text, remedy), "alarm", key, "store", c.local.Store, "lineage", c.local.Lineage, "epoch", c.local.Epoch)
}

// sweepAlarms ends the alarms whose cause is gone.
func (c *Core) sweepAlarms() {
	c.alarms = slices.DeleteFunc(c.alarms, func(a alarm) bool {
		over := c.now > a.seen+c.retry(patience)
		if over {
			c.event(Info, "alarm over", "alarm", a.key, "store", c.local.Store, "lineage", c.local.Lineage)
		}
		return over
	})
}

// ownAlarm returns an alarm that `holdfast discard` of this very store answers,
// or nil.
func (c *Core) ownAlarm() *alarm {
	for i := range c.alarms {
		if kind, _, _ := strings.Cut(c.alarms[i].key, "/"); kind == "stay" || kind == "leave" || kind == "rival" {
			return &c.alarms[i]
		}
	}
	return nil
}
