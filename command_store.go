package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"

	"holdfast/node/config"
	"holdfast/node/offline"
)

// storeFlag adds --store to the flags of a command that reads a stopped store.
func storeFlag(flags *flag.FlagSet) *string {
	return flags.String("store", config.Default().Store, "store `DIR` of a node that does not run")
}

// onStore is a command that takes a stopped store and nothing else.
func onStore(name string, do func(out io.Writer, store string) error) func(args []string) error {
	return func(args []string) error {
		flags := flag.NewFlagSet(name, flag.ExitOnError)
		store := storeFlag(flags)
		parse(flags, args, 0)
		return do(os.Stdout, *store)
	}
}

func inspect(args []string) error {
	flags := flag.NewFlagSet("inspect", flag.ExitOnError)
	store := storeFlag(flags)
	file := flags.String("file", "", "a store `FILE`, set aside or damaged, in the place of the one in use")
	stream := flags.String("stream", "*", "the stream to export; *: all")
	export := flags.String("export", "", "write the messages to `FILE`, one line of JSON each; -: to standard output")
	parse(flags, args, 0)
	switch *export {
	case "":
		return offline.Inspect(os.Stdout, *store, *file, *stream, nil)
	case "-":
		return offline.Inspect(os.Stderr, *store, *file, *stream, os.Stdout)
	}
	to, err := os.OpenFile(*export, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = offline.Inspect(os.Stdout, *store, *file, *stream, to)
	return errors.Join(err, to.Close())
}

func importExport(args []string) error {
	flags := flag.NewFlagSet("import", flag.ExitOnError)
	url := flags.String("server", "nats://"+config.DefaultListen, "`URL` of a NATS server of the cluster, with user and password if it wants them")
	credentials := flags.String("creds", "", "NATS credentials `FILE`")
	file := flags.String("file", "-", "the export; -: standard input")
	parse(flags, args, 0)
	options := []nats.Option{nats.Name("holdfast import")}
	if *credentials != "" {
		options = append(options, nats.UserCredentials(*credentials))
	}
	var from io.Reader = os.Stdin
	if *file != "-" {
		f, err := os.Open(*file)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	nc, err := nats.Connect(*url, options...)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return offline.Import(ctx, os.Stdout, from, nc)
}
