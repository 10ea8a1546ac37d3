package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// included is what a configuration in the NATS server's own syntax says: options
// for the embedded server, in which JetStream is off, and what its jetstream
// blocks mean for this node.
type included struct {
	options  *server.Options
	disabled bool // JetStream is switched off: jetstream: disabled
	domain   string
	limits   server.JSLimitOpts
	accounts []includedAccount // by name
	unused   []string          // settings of the jetstream block that mean nothing here
}

// includedAccount is an account that the configuration names.
type includedAccount struct {
	name      string
	jetstream bool
	system    bool                          // the system account
	limits    server.JetStreamAccountLimits // as machine.AccountLimits has them
	services  []string                      // subjects under which it imports services of other accounts
}

// unlimited are the limits of an account that says none.
var unlimited = machine.DefaultLimits.JetStreamAccountLimits

// readIncluded reads such a file; without a path there is nothing in it.
func readIncluded(path string) (*included, error) {
	if path == "" {
		return &included{options: &server.Options{}}, nil
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		return nil, fmt.Errorf("read nats.include %s: %w", path, err)
	}
	if len(opts.TrustedOperators) > 0 {
		return nil, fmt.Errorf("nats.include %s: accounts of an operator (JWT) cannot be served yet; configure them under accounts", path)
	}
	in := &included{
		options: opts, domain: opts.JetStreamDomain, limits: opts.JetStreamLimits,
	}
	if opts.JetStreamKey != "" || opts.JetStreamTpm != (server.JSTpmOpts{}) {
		return nil, fmt.Errorf("nats.include %s: jetstream: the store is not encrypted by the node; remove key and tpm, and encrypt the disk", path)
	}
	// The server does not tell what the accounts say about JetStream.
	file, err := conf.ParseFile(path)
	if err != nil {
		return nil, fmt.Errorf("read nats.include %s: %w", path, err)
	}
	for key, value := range file {
		switch strings.ToLower(key) {
		case "jetstream":
			in.disabled = !opts.JetStream
			in.noteUnused(value)
		case "accounts":
			in.readAccounts(value)
		}
	}
	slices.SortFunc(in.accounts, func(a, b includedAccount) int { return strings.Compare(a.name, b.name) })
	opts.JetStream, opts.StoreDir = false, ""
	return in, in.check(path)
}

// check refuses what cannot work.
func (in *included) check(path string) error {
	system := in.systemAccount()
	for _, a := range in.accounts {
		if a.jetstream && a.name == system {
			return fmt.Errorf("nats.include %s: jetstream can not be enabled on the system account %s", path, system)
		}
	}
	return nil
}

// noteUnused keeps the names of settings that have no effect: where and how
// JetStream keeps its files.
func (in *included) noteUnused(block any) {
	settings, _ := block.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		switch strings.ToLower(key) {
		case "domain", "limits", "enable", "enabled":
		default:
			in.unused = append(in.unused, key)
		}
	}
}

func (in *included) readAccounts(block any) {
	accounts, _ := block.(map[string]any)
	for name, value := range accounts {
		a := includedAccount{name: name, limits: unlimited}
		settings, _ := value.(map[string]any)
		for key, value := range settings {
			switch strings.ToLower(key) {
			case "jetstream":
				a.jetstream, a.limits = accountJetStream(value)
			case "imports":
				a.services = importedServices(value)
			}
		}
		in.accounts = append(in.accounts, a)
	}
}

// accountJetStream reads the jetstream setting of an account, which the server
// has checked (parseJetStreamForAccount of the NATS server).
func accountJetStream(value any) (enabled bool, limits server.JetStreamAccountLimits) {
	limits = unlimited
	switch v := value.(type) {
	case bool:
		return v, limits
	case string:
		return strings.HasPrefix(strings.ToLower(v), "enable"), limits
	}
	settings, is := value.(map[string]any)
	for key, value := range settings {
		number, _ := value.(int64)
		switch strings.ToLower(key) {
		case "max_memory", "max_mem", "mem", "memory":
			limits.MaxMemory = number
		case "max_store", "max_file", "max_disk", "store", "disk":
			limits.MaxStore = number
		case "max_streams", "streams":
			limits.MaxStreams = int(number)
		case "max_consumers", "consumers":
			limits.MaxConsumers = int(number)
		case "max_bytes_required", "max_stream_bytes", "max_bytes":
			limits.MaxBytesRequired, _ = value.(bool)
		case "mem_max_stream_bytes", "memory_max_stream_bytes":
			limits.MemoryMaxStreamBytes = number
		case "disk_max_stream_bytes", "store_max_stream_bytes":
			limits.StoreMaxStreamBytes = number
		case "max_ack_pending":
			limits.MaxAckPending = int(number)
		}
	}
	return is, limits
}

// importedServices are the subjects under which the clients of an account reach
// services of others.
func importedServices(value any) (subjects []string) {
	imports, _ := value.([]any)
	for _, one := range imports {
		settings, _ := one.(map[string]any)
		service, _ := settings["service"].(map[string]any)
		subject, _ := service["subject"].(string)
		if to, _ := settings["to"].(string); to != "" {
			subject = to
		}
		if subject != "" {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// machineLimits are those of configurations: of the jetstream block, for every
// account, and of the account, which may be lower.
func (in *included) machineLimits(a includedAccount) machine.Limits {
	limits := machine.Limits{MaxAckPending: in.limits.MaxAckPending, MaxRequestBatch: in.limits.MaxRequestBatch, Duplicates: in.limits.Duplicates}
	if most := a.limits.MaxAckPending; most > 0 && (limits.MaxAckPending <= 0 || most < limits.MaxAckPending) {
		limits.MaxAckPending = most
	}
	return limits
}

// accountLimits is how much an account may use.
func (in *included) accountLimits(a includedAccount) *machine.AccountLimits {
	if a.system {
		return nil
	}
	allowed := machine.AccountLimits{JetStreamAccountLimits: a.limits, DefaultMaxConsumers: in.limits.DefaultMaxConsumers}
	if allowed.DefaultMaxConsumers == 0 {
		allowed.DefaultMaxConsumers = machine.DefaultLimits.DefaultMaxConsumers
	}
	return &allowed
}

// ownAPI reports whether the account imports a service in the place of the
// JetStream API (serviceImportShadowed of the NATS server).
func (a *includedAccount) ownAPI() bool {
	return slices.ContainsFunc(a.services, func(subject string) bool { return server.SubjectsCollide(subject, server.JSApiAccountInfo) })
}

// systemAccount is the name of the system account; empty: there is none.
func (in *included) systemAccount() string {
	switch {
	case in.options.SystemAccount != "":
		return in.options.SystemAccount
	case in.options.NoSystemAccount:
		return ""
	}
	return server.DEFAULT_SYSTEM_ACCOUNT
}

// served are the accounts that have JetStream: those that say so or, when there
// are no accounts besides the system account, the default one.
func (in *included) served() []includedAccount {
	if in.disabled {
		return nil
	}
	var served []includedAccount
	others := false
	for _, a := range in.accounts {
		others = others || a.name != in.systemAccount()
		if a.jetstream {
			served = append(served, a)
		}
	}
	if !others {
		return []includedAccount{{name: server.DEFAULT_GLOBAL_ACCOUNT, jetstream: true, limits: unlimited}}
	}
	return served
}

// attached are the accounts that the node is attached to: those that have
// JetStream, and the system account, if there are accounts.
func (in *included) attached() []includedAccount {
	attached := in.served()
	if system := in.systemAccount(); !in.disabled && len(in.accounts) > 0 && system != "" {
		in.nameSystemAccount(system)
		attached = append(attached, includedAccount{name: system, system: true})
	}
	return attached
}

// nameSystemAccount has the NATS server make the system account at once. It would
// make its default one only when it starts.
func (in *included) nameSystemAccount(name string) {
	opts := in.options
	opts.SystemAccount = name
	if !slices.ContainsFunc(opts.Accounts, func(a *server.Account) bool { return a.Name == name }) {
		opts.Accounts = append(opts.Accounts, server.NewAccount(name))
	}
}

// refused are the accounts whose clients are told that they have no JetStream.
func (in *included) refused() []string {
	if in.disabled || len(in.accounts) == 0 {
		return nil
	}
	var names []string
	for _, a := range in.served() {
		if a.name == server.DEFAULT_GLOBAL_ACCOUNT {
			return nil
		}
	}
	for _, a := range in.accounts {
		if !a.jetstream && !a.ownAPI() && a.name != in.systemAccount() {
			names = append(names, a.name)
		}
	}
	return append(names, server.DEFAULT_GLOBAL_ACCOUNT)
}

// mapDomain lets clients of an account use the API under the name of the domain
// as well.
func mapDomain(account *server.Account, domain string) error {
	if domain == "" {
		return nil
	}
	for _, under := range []struct{ name, subject string }{
		{"INFO", "$JS.API.INFO"}, {"STREAM.>", "$JS.API.STREAM.>"}, {"CONSUMER.>", "$JS.API.CONSUMER.>"}, {"DIRECT.>", "$JS.API.DIRECT.>"},
		{"META.>", "$JS.API.META.>"}, {"SERVER.>", "$JS.API.SERVER.>"}, {"ACCOUNT.>", "$JS.API.ACCOUNT.>"}, {"$KV.>", "$KV.>"}, {"$OBJ.>", "$OBJ.>"},
	} {
		if err := account.AddMapping("$JS."+domain+".API."+under.name, under.subject); err != nil {
			return err
		}
	}
	return nil
}

// addCredential gives the node a user of its own in an account, whose password
// lives as long as the process, if the server asks clients who they are. With
// users configured, nobody is in the account without one.
func (in *included) addCredential(account, user, password string) credential {
	opts := in.options
	switch {
	case len(opts.Users) > 0 || len(opts.Nkeys) > 0:
	case opts.Username != "" || opts.Authorization != "":
		return credential{user: opts.Username, password: opts.Password, token: opts.Authorization}
	default:
		return credential{}
	}
	own := &server.User{Username: user, Password: password}
	for _, a := range opts.Accounts {
		if a.Name == account {
			own.Account = a
		}
	}
	opts.Users = append(opts.Users, own)
	if opts.AuthCallout != nil {
		opts.AuthCallout.AuthUsers = append(opts.AuthCallout.AuthUsers, user)
	}
	return credential{user: user, password: password}
}

// credential is what a client shows to be let in.
type credential struct{ user, password, token string }
