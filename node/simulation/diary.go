package simulation

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// diary is a stream of schedules, and a client that stores some which fire once, at
// a time of the log that it has asked for, and some which fire every second or two
// until it ends them.
type diary struct {
	world  *world
	client *client
	next   int
	flying int
	done   int // stored, or ended, since the faults ended
}

const diaryName = "SCHEDULES"

func newDiary(w *world) *diary {
	d := &diary{world: w, client: w.newClient(nil)}
	w.keepStream(d.client, &server.StreamConfig{Name: diaryName, AllowMsgSchedules: true, AllowRollup: true})
	w.after(w.between(0, second), d.work)
	return d
}

func (d *diary) work() {
	w := d.world
	if d.flying < 3 && (!w.clients.quiet || d.done < lastSteps) {
		d.next++
		d.flying++
		if w.chance(0.6) {
			d.once(d.next)
		} else {
			d.repeat(d.next)
		}
	}
	w.after(w.often(10*millisecond, second), d.work)
}

// once stores a schedule for a moment that is near by the time of the log.
func (d *diary) once(number int) {
	w := d.world
	call(d.client, "STREAM.INFO."+diaryName, nil, func(response *server.JSApiStreamInfoResponse, ok bool) {
		if !ok || response.Error != nil {
			d.flying--
			return
		}
		due := response.TimeStamp.Add(time.Duration(w.between(-second, 4*second))).UTC()
		d.store(fmt.Sprintf("at.%d", number), "@at "+due.Format(time.RFC3339), func() {
			d.flying--
			d.done++
		})
	})
}

// repeat stores a schedule that fires again and again, and ends it after a while.
func (d *diary) repeat(number int) {
	w := d.world
	subject := fmt.Sprintf("every.%d", number)
	d.store(subject, fmt.Sprintf("@every %ds", 1+w.random.IntN(2)), func() {
		w.after(w.between(second, 6*second), func() {
			header := fmt.Sprintf("NATS/1.0\r\nNats-Schedule-Next: purge\r\nNats-Scheduler: %s.%s\r\nNats-Msg-Id: end %s\r\n\r\n", diaryName, subject, subject)
			w.insist(d.client, diaryName+".end", header, nil, func() {
				d.flying--
				d.done++
			})
		})
	})
}

func (d *diary) store(subject, pattern string, stored func()) {
	header := fmt.Sprintf("NATS/1.0\r\nNats-Schedule: %s\r\nNats-Schedule-Target: %s.fired\r\nNats-Msg-Id: %s\r\n\r\n", pattern, diaryName, subject)
	d.world.insist(d.client, diaryName+"."+subject, header, []byte(pattern), stored)
}

// missing says what is still to come: everything that was stored fires, and all of
// it comes to an end.
func (d *diary) missing(m *machine.Machine) string {
	s := m.Stream(diaryName)
	if s == nil {
		return "there is no stream " + diaryName
	}
	if d.done < lastSteps || d.flying > 0 {
		return fmt.Sprintf("%s has %d schedules done and waits for %d", diaryName, d.done, d.flying)
	}
	if left := len(s.Subjects(diaryName+".at.>")) + len(s.Subjects(diaryName+".every.>")); left > 0 && !d.world.plan.disaster {
		return fmt.Sprintf("%s still has %d schedules", diaryName, left)
	}
	return ""
}
