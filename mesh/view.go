package mesh

import "holdfast/protocol"

// State is where a member stands.
type State uint8

const (
	StateUnknown  State = 0 // never heard of
	StateGone     State = 1 // not connected
	StateWaiting  State = 2 // cannot proceed by itself; Reason says for what it waits
	StateJoining  State = 3 // stages a copy
	StateFounding State = 4 // asks the others for a new lineage
	StateLearner  State = 5 // holds the lineage, is not a voter yet
	StateVoter    State = 6 // takes part in the lineage's decisions
	StateAlarmed  State = 7 // needs an operator; Remedy says what to do
)

var stateNames = [...]string{"unknown", "gone", "waiting", "joining", "founding", "learner", "voter", "alarmed"}

// String prints the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// View is the cluster as this node sees it.
type View struct {
	Self    string
	Lineage protocol.Lineage
	Epoch   uint64
	Leader  string // "" when none is known
	// Waiting says in one sentence what this node waits for and what would let
	// it go on; "" while it takes part and nothing is missing.
	Waiting string
	// Alarms are sentences that say what happened and what to do.
	Alarms []string
	// Members in the order of their names, this one included.
	Members []MemberView
}

// MemberView is one member as this node sees it.
type MemberView struct {
	Name      string
	State     State
	Connected bool // true for this node itself
	Status    Status
	Reason    string
	Remedy    string // what would let it go on; "" when nothing is needed
	// Copied and Total count the bytes of the copy that a joining member stages.
	Copied, Total uint64
}
