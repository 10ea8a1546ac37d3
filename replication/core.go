package replication

import "holdfast/protocol"

// Core is one store's part in the replication of one lineage.
type Core struct{}

func New(Options) (*Core, error)                                  { return nil, nil }
func (c *Core) Tick()                                             {}
func (c *Core) Step(m Message)                                    {}
func (c *Core) Propose(data []byte) (index uint64, err error)     { return 0, nil }
func (c *Core) ProposeConfiguration(protocol.Configuration) error { return nil }
func (c *Core) ProposeBump(epoch uint64) error                    { return nil }
func (c *Core) AddLearner(protocol.Voter)                         {}
func (c *Core) RemoveLearner(protocol.Voter)                      {}
func (c *Core) PeerUp(protocol.Voter)                             {}
func (c *Core) PeerDown(protocol.Voter)                           {}
func (c *Core) Transfer(to protocol.Voter) error                  { return nil }
func (c *Core) ReadIndex(context uint64)                          {}
func (c *Core) StepDown()                                         {}
func (c *Core) Freeze()                                           {}
func (c *Core) Persisted(writeID uint64)                          {}
func (c *Core) Applied(index uint64)                              {}
func (c *Core) Take(e *Effects)                                   {}
func (c *Core) Status() Status                                    { return Status{} }
func (c *Core) Progress() []Progress                              { return nil }
