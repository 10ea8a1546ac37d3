package simulation

// Mutation breaks something on purpose.
type Mutation int

const NoMutation Mutation = 0
