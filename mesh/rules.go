package mesh

// switches turns clauses of the rules off, one by one, to show that each of them
// is needed: with it off, a named schedule breaks a named check. The zero value
// has every clause on. Nothing that a production build contains sets a field.
type switches struct {
	confirm           bool // P5(1): every member confirms before anything is persisted
	confirmStepsDown  bool // P5(1): a confirming leader drops leadership
	leaderRefuses     bool // P5(1): a leader in contact with its quorum refuses
	ownPicture        bool // P5(1): a member confirms only what it sees itself
	promiseDropsStage bool // P3: a promise discards a half-staged copy
	rankByFounding    bool // P5: survivors rank by founding epoch; off: by epoch
	serveLagging      bool // P4: a leader that is not ready offers copies to who lags
	bump              bool // P6: a leader bumps above foreign promises and epochs
	oneLive           bool // P6: of two live lineages neither bumps
	ownPromise        bool // P5(4): the founder's own promise is still this attempt
	counter           bool // P1: pinned statuses compare with promise, counter and boot
	exact             weak // P5: electability
	removeThenAdd     bool // P2: a replacement removes first
	nonce             bool // P2: a replacement needs a reply to a later request
	holderStays       bool // P4: a holder of L never restages from L, save frozen and forward
	aboveEpoch        bool // P3, P4: a copy's epoch is above the promise; off: or equal
	leaveRule         bool // P4: a holder leaves only with a grant or as a prefix
	leaveTest         bool // P5: a member confirms and grants only if it may leave
	exactAttempt      bool // P4: a grant is recognised by its attempt, not its number
	freshStore        bool // P5(4): a founder has a fresh store ID
	remember          bool // a store that has less than was heard of it before counts for nothing
	everyMember       bool // P5: a status from every member; off: a blank majority will do
}

// weak is a wrong way to tell whether a lineage is lost.
type weak uint8

const (
	weakOff     weak = iota // exact
	countListed             // a listed voter is lost if its store is absent
	countAbove              // or promised above the candidate's epoch
)
